"""A real cluster, the chart installed on it, and a namespace with a tiny model and data on a volume.

`make cluster images` has brought up the cluster and pushed the images; what is missing is said, not skipped.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.kube import BIN, KUBECONFIG, ROOT, Job, KubectlError, kubectl

OPERATOR_NAMESPACE = "alignment-operator"
RELEASE = "alignment-operator"


def helm(*args: str, timeout: float = 180) -> str:
    command = [str(BIN / "helm"), f"--kubeconfig={KUBECONFIG}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"helm {' '.join(args)}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Image references by name (`operator`, `trainer`), as pushed by `make images`."""
    path = ROOT / ".cluster" / "images.json"
    if not path.exists():
        pytest.exit("no images: run `make cluster images` first", returncode=3)
    found: dict[str, str] = json.loads(path.read_text())
    return found


@pytest.fixture(scope="session")
def cluster() -> None:
    try:
        kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s", timeout=90)
    except (KubectlError, OSError) as error:
        pytest.exit(f"no cluster: run `make cluster` first ({error})", returncode=3)


@pytest.fixture(scope="session")
def operator(cluster: None, images: dict[str, str]) -> str:
    """The chart, installed as the README says; returns its namespace."""
    repository, _, tag = images["operator"].rpartition(":")
    trainer_repository, _, trainer_tag = images["trainer"].rpartition(":")
    helm(
        *("upgrade", "--install", RELEASE, str(ROOT / "charts" / "alignment-operator")),
        *("--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "150s"),
        *("--set-string", f"image.repository={repository},image.tag={tag}"),
        *("--set", "settings.max_attempts_without_progress=2"),  # of five the last would come after five minutes
        # A tiny model's steps are told before they are over, on a fast machine too
        *("--set", "settings.progress.report_seconds=1,settings.progress.write_seconds=2"),
        *("--set-string", f"trainer.image.repository={trainer_repository},trainer.image.tag={trainer_tag}"),
    )
    return OPERATOR_NAMESPACE


SEED_SCRIPT = """
import json, pathlib, sys
sys.path.insert(0, "/scripts")
from tiny import tiny_model, tiny_preferences
root = pathlib.Path("/data")
tiny_model(root / "smollm2-135m-instruct")
for folder in ("preferences", "conversations", "bad"):
    (root / folder).mkdir(exist_ok=True)
tiny_preferences(root / "preferences" / "train.jsonl", 64)
tiny_preferences(root / "preferences" / "test.jsonl", 8)
rows = [json.loads(line) for line in open(root / "preferences" / "train.jsonl")]
roles = {"user": "prompt", "assistant": "chosen"}
chats = [json.dumps({"messages": [{"role": r, "content": row[c]} for r, c in roles.items()]}) for row in rows]
(root / "conversations" / "train.jsonl").write_text("\\n".join(chats))
(root / "bad" / "train.jsonl").write_text('{"question": "a", "answer": "b"}\\n' * 8)
"""

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def claim(name: str, mode: str = "ReadWriteOnce", storage_class: str | None = None) -> dict[str, Any]:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "2Gi"}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def seed_job(image: str) -> dict[str, Any]:
    container = {
        "name": "seed",
        "image": image,
        "command": ["python", "-c", SEED_SCRIPT],
        "securityContext": RESTRICTED,
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": {"cpu": "500m"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "scripts", "mountPath": "/scripts"}],
    }
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "scripts", "configMap": {"name": "seed"}},
    ]
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": volumes,
        "securityContext": {"fsGroup": 65532},
    }
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"}, "spec": spec}


@pytest.fixture(scope="session")
def workspace(operator: str, images: dict[str, str]) -> Iterator[str]:
    """A namespace that enforces Pod Security `restricted`, with the claims that the examples expect.

    `models` holds a tiny model under the name of the examples' model, and small datasets; `output` is empty.
    """
    namespace = f"e2e-{int(time.time())}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifests = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "seed", "namespace": namespace},
            "data": {"tiny.py": (ROOT / "tests" / "tiny.py").read_text()},
        },
    ]
    for manifest in manifests:
        kubectl("apply", "-f", "-", stdin=manifest)
    shared = claim("output-shared", "ReadWriteMany", "local-path-shared")
    for manifest in (claim("models"), claim("output"), shared, seed_job(images["trainer"])):
        kubectl("apply", "-f", "-", namespace=namespace, stdin=manifest)
    kubectl("wait", "--for=condition=Complete", "job/seed", "--timeout=500s", namespace=namespace, timeout=510)
    yield namespace
    kubectl("delete", "namespace", namespace, "--wait=false")


def manifest(name: str, **changes: Any) -> dict[str, Any]:
    """A small LoRA DPO job; `changes` are merged over its spec, section by section (None removes)."""
    spec: dict[str, Any] = {
        "model": {
            "modelNameOrPath": "/cache/smollm2-135m-instruct",
            "usePeft": True,
            "loraR": 4,
            "loraTargetModules": ["q_proj", "v_proj"],
        },
        "dataset": {"datasetName": "/cache/preferences"},
        "training": {
            "maxSteps": 6,
            "perDeviceTrainBatchSize": 2,
            "loggingSteps": 1,
            "saveSteps": 2,
            "saveTotalLimit": 2,
            "bf16": False,
            "learningRate": 1e-3,
        },
        "dpo": {"beta": 0.1, "maxLength": 128},
        "gpusPerNode": 0,
        # one CPU, so one thread: two that wait for each other beside other work take many times as long
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "3Gi"}},
        "output": {"volume": {"persistentVolumeClaim": {"claimName": "output"}}},
        "cache": {"volume": {"persistentVolumeClaim": {"claimName": "models"}}},
        "terminationGracePeriodSeconds": 60,
    }
    return {
        "apiVersion": "alignment-operator.io/v1alpha1",
        "kind": "AlignmentJob",
        "metadata": {"name": name},
        "spec": _merged(spec, changes),
    }


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = _merged(base[key], value)
        else:
            result[key] = value
    return result


@pytest.fixture
def apply(workspace: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Job]]:
    """apply(name, **changes) -> Job; what was applied is deleted after the test.

    A test that is tried again writes into another folder: in its own it would meet the output of the first time.
    """
    made: list[Job] = []
    tries = getattr(request.node, "execution_count", 1)
    again = {"subPath": f"try-{tries}"} if tries > 1 else {}

    def _apply(name: str, **changes: Any) -> Job:
        changes["output"] = again | changes.get("output", {})
        kubectl("apply", "-f", "-", namespace=workspace, stdin=manifest(name, **changes))
        made.append(Job(workspace, name))
        return made[-1]

    yield _apply
    for job in made:
        job.delete()
