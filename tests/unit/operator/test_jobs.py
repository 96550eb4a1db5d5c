"""Child manifests: the golden ones whole, and the promises behind them one by one.

`UPDATE_GOLDEN=1 pytest tests/unit/operator/test_jobs.py` writes the golden files anew; read the difference first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.jobs import child_name
from alignment_operator.problems import SpecProblem
from tests.unit.operator.builders import CLAIM, NAMESPACE, UID, alignment_job
from tests.unit.operator.manifests import CASES, OPENSHIFT, PLAIN, SETTINGS, children, job_of, pod_of, rendered
from tests.unit.operator.pod_security import CONTROLS, violations

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_the_golden_ones(case: str) -> None:
    path, text = GOLDEN / f"{case}.yaml", rendered(case)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("case", CASES)
def test_pods_pass_pod_security_restricted(case: str) -> None:
    spec, settings = CASES[case]
    pod = children(job_of(case), settings)["Job"]["spec"]["template"]["spec"]
    if "initContainers" in spec.get("podTemplate", {}).get("spec", {}):
        pod = {**pod, "initContainers": []}  # the user's own
    assert violations(pod) == []


BREAKS: dict[str, dict[str, Any]] = {
    "host namespaces": {"hostPID": True},
    "host path volumes": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
    "sysctls": {"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}},
    "volume types": {"volumes": [{"name": "a", "nfs": {}}]},
    "SELinux": {"securityContext": {"seLinuxOptions": {}}},
    "running as non-root user": {"securityContext": {"runAsUser": 0}},
    "privileged containers": {"containers": [{"securityContext": {"privileged": True}}]},
    "host ports": {"containers": [{"ports": [{"hostPort": 1}]}]},
    "/proc mount type": {"containers": [{"securityContext": {"procMount": "Unmasked"}}]},
    "privilege escalation": {"containers": [{}]},
    "running as non-root": {"containers": [{}]},
    "seccomp": {"containers": [{}]},
    "capabilities": {"containers": [{"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}]},
}


@pytest.mark.parametrize("control", CONTROLS)
def test_the_table_of_controls_finds_what_breaks_it(control: str) -> None:
    assert control in violations(BREAKS[control])


def test_pods_hold_no_api_credentials() -> None:
    pod = pod_of(SETTINGS)
    assert pod["automountServiceAccountToken"] is False
    (token,) = [v["projected"]["sources"] for v in pod["volumes"] if "projected" in v]
    assert token == [
        {"serviceAccountToken": {"path": "token", "audience": "alignment-operator.io", "expirationSeconds": 3600}}
    ]


def test_without_an_endpoint_pods_hold_no_token_at_all() -> None:
    pod = pod_of(PLAIN)
    assert not any("projected" in volume for volume in pod["volumes"])
    assert not any(variable["name"].startswith("KUBEFLOW") for variable in pod["containers"][0]["env"])


def test_everything_but_the_mounts_is_read_only_and_the_caches_are_writable() -> None:
    pod = pod_of(SETTINGS)
    (trainer,) = pod["containers"]
    assert trainer["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {mount["mountPath"] for mount in trainer["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/output", "/cache", "/tmp", "/dev/shm"}
    env = {variable["name"]: variable.get("value", "") for variable in trainer["env"]}
    for name in ("HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "HF_HOME", "TMPDIR"):
        assert any(env[name] == path or env[name].startswith(f"{path}/") for path in writable), name
    assert next(v for v in pod["volumes"] if v["name"] == "alignment-shm")["emptyDir"]["medium"] == "Memory"


def test_on_openshift_the_platform_chooses_the_user() -> None:
    security = pod_of(OPENSHIFT)["securityContext"]
    assert not security.keys() & {"runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy"}
    assert security["runAsNonRoot"] is True


def test_children_belong_to_the_alignmentjob_and_are_found_by_label() -> None:
    for manifest in children(alignment_job(nodes=2), SETTINGS).values():
        meta = manifest["metadata"]
        (owner,) = meta["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (UID, True)
        assert (meta["name"], meta["namespace"]) == ("demo-r1", NAMESPACE)
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "alignment-operator"
        assert meta["labels"]["alignment-operator.io/run"] == "1"


def test_the_config_map_is_immutable_and_holds_the_contracts_files() -> None:
    config = children(alignment_job(), SETTINGS)["ConfigMap"]
    assert config["immutable"] is True
    assert config["data"].keys() == {"recipe.yaml", "run.yaml", "ca.crt"}


def job_spec(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = children(alignment_job(**spec), PLAIN)["Job"]["spec"]
    return found


def test_one_job_for_all_nodes() -> None:
    spec = job_spec(nodes=3)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_job_controller_never_deletes_what_the_operator_has_not_read() -> None:
    assert "ttlSecondsAfterFinished" not in job_spec(ttlSecondsAfterFinished=60)


def test_retries_are_not_per_index_because_a_run_is_one() -> None:
    assert "backoffLimitPerIndex" not in job_spec(nodes=2)
    assert job_spec(backoffLimit=0)["backoffLimit"] == 0


def test_one_node_needs_no_service() -> None:
    assert "Service" not in children(alignment_job(), PLAIN)
    assert "subdomain" not in pod_of()


def test_several_nodes_find_each_other_before_they_are_ready() -> None:
    made = children(alignment_job(nodes=2), PLAIN)
    service = made["Service"]["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert service["selector"] == {"batch.kubernetes.io/job-name": "demo-r1"}
    assert made["Job"]["spec"]["template"]["spec"]["subdomain"] == made["Service"]["metadata"]["name"]


@pytest.mark.parametrize(
    ("spec", "labels", "suspend"),
    [
        pytest.param({}, {}, False, id="no-queue"),
        pytest.param({"workloadPriorityClass": "high"}, {}, False, id="a-priority-without-a-queue-means-nothing"),
        pytest.param({"queueName": "q"}, {"kueue.x-k8s.io/queue-name": "q"}, True, id="queue"),
        pytest.param(
            {"queueName": "q", "workloadPriorityClass": "high"},
            {"kueue.x-k8s.io/queue-name": "q", "kueue.x-k8s.io/priority-class": "high"},
            True,
            id="queue-and-priority",
        ),
        pytest.param({"suspend": True}, {}, True, id="suspended-by-the-user"),
    ],
)
def test_queues_own_the_child_job(spec: dict[str, Any], labels: dict[str, str], suspend: bool) -> None:
    made = children(alignment_job(**spec), PLAIN)["Job"]
    assert {k: v for k, v in made["metadata"]["labels"].items() if "kueue" in k} == labels
    assert made["spec"]["suspend"] is suspend
    assert not any("kueue" in label for label in made["spec"]["template"]["metadata"]["labels"])


@pytest.mark.parametrize(
    ("spec", "resources"),
    [
        pytest.param({"gpusPerNode": 0}, {}, id="none"),
        pytest.param({"gpusPerNode": 2}, {"limits": {"nvidia.com/gpu": "2"}}, id="gpus-are-limits"),
        pytest.param(
            {"gpusPerNode": 1, "gpuResource": "amd.com/gpu"}, {"limits": {"amd.com/gpu": "1"}}, id="other-gpus"
        ),
        pytest.param(
            {"gpusPerNode": 1, "resources": {"requests": {"cpu": 4}, "limits": {"memory": "8Gi"}}},
            {"requests": {"cpu": "4"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"}},
            id="beside-the-gpus",
        ),
    ],
)
def test_resources(spec: dict[str, Any], resources: dict[str, Any]) -> None:
    assert pod_of(**spec)["containers"][0]["resources"] == resources


def test_the_operators_default_resources_are_those_of_jobs_without_their_own() -> None:
    from dataclasses import replace

    defaults = replace(PLAIN, pods=replace(PLAIN.pods, resources={"requests": {"cpu": "1"}}))
    assert pod_of(defaults)["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
    own = pod_of(defaults, resources={"requests": {"cpu": "2"}})
    assert own["containers"][0]["resources"] == {"requests": {"cpu": "2"}}


@pytest.mark.parametrize(
    ("spec", "secrets"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"hub": {"secretName": "hub", "key": "t"}}, {"HF_TOKEN": ("hub", "t")}, id="hub"),
        pytest.param(
            {
                "hub": {"secretName": "hub"},
                "output": {"volume": CLAIM, "push": {"repository": "a/b", "secretName": "push"}},
            },
            {"HF_TOKEN": ("hub", "token"), "ALIGNMENT_PUSH_TOKEN": ("push", "token")},
            id="another-token-writes",
        ),
    ],
)
def test_tokens_come_from_secrets(spec: dict[str, Any], secrets: dict[str, tuple[str, str]]) -> None:
    env = pod_of(**spec)["containers"][0]["env"]
    refs = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in env if "secretKeyRef" in v.get("valueFrom", {})}
    assert {name: (ref["name"], ref["key"]) for name, ref in refs.items()} == secrets


def test_gpus_are_not_counted_twice() -> None:
    with pytest.raises(SpecProblem, match=r"spec\.resources\.limits\[nvidia\.com/gpu\].*gpusPerNode"):
        pod_of(gpusPerNode=1, resources={"limits": {"nvidia.com/gpu": 1}})


def test_the_output_of_another_job_is_mounted_read_only() -> None:
    pod = children(alignment_job(model={"fromJob": "first"}), PLAIN)["Job"]["spec"]["template"]["spec"]
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"] == "/from-job")
    volume = next(v for v in pod["volumes"] if v["name"] == mount["name"])
    assert mount["readOnly"] is True
    assert volume["persistentVolumeClaim"] == {"claimName": "first"}


@pytest.mark.parametrize(("run", "name"), [(1, "demo-r1"), (12, "demo-r12")])
def test_children_are_named_by_run(run: int, name: str) -> None:
    assert child_name("demo", run) == name
