"""The Kubernetes objects that the demonstration adds around the AlignmentJob; all satisfy Pod Security `restricted`."""

from typing import Any

NAMESPACE = "alignment-demo"
MODELS = "models"  # claim: models and datasets, /cache in the trainer's pods
OUTPUT = "output"  # claim: what the jobs make
FILES = "files"  # pod: mounts both claims, so that files can be copied in and out
UID = 65532


def namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def claim(name: str, size: str = "2Gi") -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def files_pod(image: str) -> dict[str, Any]:
    """A pod that sleeps with every claim mounted; the image needs `tar` only."""
    mounts = [{"name": MODELS, "mountPath": "/cache"}, {"name": OUTPUT, "mountPath": "/output"}]
    container = _container("files", image, ["sleep", "infinity"], mounts)
    spec = _pod_spec(container, [_claim_volume(MODELS), _claim_volume(OUTPUT)])
    spec["terminationGracePeriodSeconds"] = 1
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": FILES}, "spec": spec}


def script_job(name: str, image: str, script: str, arguments: list[str]) -> list[dict[str, Any]]:
    """A ConfigMap with a Python script and a Job that runs it in the trainer image, both claims read-only."""
    mounts: list[dict[str, Any]] = [
        {"name": MODELS, "mountPath": "/cache", "readOnly": True},
        {"name": OUTPUT, "mountPath": "/output", "readOnly": True},
        {"name": "script", "mountPath": "/script"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    # The request is also the share of a busy machine.
    command = ["python", "/script/script.py", *arguments]
    container = _container(name, image, command, mounts, cpu="1")
    container["env"] = [{"name": "HF_HOME", "value": "/tmp/huggingface"}, {"name": "HF_HUB_OFFLINE", "value": "1"}]
    volumes: list[dict[str, Any]] = [_claim_volume(MODELS), _claim_volume(OUTPUT)]
    volumes += [{"name": "script", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}]
    job = {"backoffLimit": 0, "template": {"spec": _pod_spec(container, volumes)}}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"script.py": script}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": job},
    ]


def _container(
    name: str, image: str, command: list[str], mounts: list[dict[str, Any]], cpu: str = "10m"
) -> dict[str, Any]:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    return {
        "name": name,
        "image": image,
        "command": command,
        "volumeMounts": mounts,
        "securityContext": security,
        "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}},
    }


def _pod_spec(container: dict[str, Any], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    security = {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": security,
        "containers": [container],
        "volumes": volumes,
    }


def _claim_volume(name: str) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}
