"""Cases of rules/placement.py."""

from alignment_operator.api.podtemplate import RESERVED_CONTAINER_FIELDS, RESERVED_POD_FIELDS
from alignment_operator.api.rules.placement import PASSING, READ_ONLY
from tests.rule_cases.case import LORA, Case, Json, container, model

_POD_VALUES: Json = {
    "activeDeadlineSeconds": 60,
    "terminationGracePeriodSeconds": 60,
    "automountServiceAccountToken": True,
    "hostPID": True,
    "shareProcessNamespace": True,
    "ephemeralContainers": [{"name": "debug", "image": "debian"}],
}
_CONTAINER_VALUES: Json = {
    "command": ["sleep"],
    "args": ["1"],
    "resources": {"limits": {"cpu": "1"}},
    "securityContext": {"privileged": True},
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    "livenessProbe": {"exec": {"command": ["true"]}},
    "readinessProbe": {"exec": {"command": ["true"]}},
    "startupProbe": {"exec": {"command": ["true"]}},
}
_VOLUMES: Json = {
    "emptyDir": {},
    "ephemeral": {"volumeClaimTemplate": {"spec": {}}},
    "secret": {"secretName": "a"},
    "configMap": {"name": "a"},
    "image": {"reference": "a"},
    "projected": {"sources": []},
    "downwardAPI": {"items": []},
}
_PVC = {"persistentVolumeClaim": {"claimName": "models"}}


def _volume(where: str, kind: str) -> Json:
    return {where: {"volume": {"persistentVolumeClaim": None, kind: _VOLUMES[kind]}}}


PLACEMENT_CASES = [
    *(
        Case(f"output-volume-{kind}", _volume("output", kind), {}, kubernetes="volume_dies_with_the_pod")
        for kind in PASSING
    ),
    *(
        Case(f"output-volume-{kind}", _volume("output", kind), {}, kubernetes="volume_is_read_only")
        for kind in READ_ONLY
    ),
    *(Case(f"cache-volume-{kind}", _volume("cache", kind), {}, kubernetes="volume_is_read_only") for kind in READ_ONLY),
    Case(
        "output-volume-one",
        {"output": {"volume": {"nfs": {"server": "a", "path": "/b"}}}},
        {},
        kubernetes="the_api_server_refuses_the_pod",
    ),
    Case(
        "cache-volume-one",
        {"cache": {"volume": {}}},
        {"cache": {"volume": _PVC}},
        kubernetes="no_kind_becomes_an_empty_dir",
    ),
    *(
        Case(
            "output-sub-path",
            {"output": {"subPath": path}},
            {"output": {"subPath": "team/a..b"}},
            kubernetes="sub_path_leaves_the_folder",
        )
        for path in ("/abs", "../up", "a/../b", "a/..")
    ),
    Case(
        "merge-adapter",
        {"output": {"merge": True}},
        {"output": {"merge": True}, **model(**LORA)},
        shows="nothing_to_merge",
    ),
    Case(
        "push-token",
        {"output": {"push": {"repository": "me/model"}}},
        {"output": {"push": {"repository": "me/model", "secretName": "token"}}},
        shows="push_without_token_dies_at_the_end",
    ),
    *(
        Case(
            "processes-per-gpu",
            {"gpusPerNode": 2, "processesPerNode": count},
            {"gpusPerNode": 2, "processesPerNode": 2},
            shows="processes_and_gpus_differ",
        )
        for count in (1, 4)
    ),
    *(
        Case(
            f"gpu-in-{kind}",
            {"resources": {kind: {"nvidia.com/gpu": 1}}},
            {"resources": {kind: {"cpu": "2"}}},
            kubernetes="gpus_are_counted_twice",
        )
        for kind in ("requests", "limits")
    ),
    *(
        Case(
            f"gpu-resource-in-{kind}",
            {"gpuResource": "amd.com/gpu", "resources": {kind: {"amd.com/gpu": 1}}},
            {"gpuResource": "amd.com/gpu", "resources": {kind: {"cpu": "2"}}},
            kubernetes="gpus_are_counted_twice",
        )
        for kind in ("requests", "limits")
    ),
    *(
        Case(
            f"pod-{field}",
            {"podTemplate": {"spec": {field: _POD_VALUES.get(field, "Always")}}},
            {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}},
            kubernetes="pod_field_is_the_operators",
        )
        for field in RESERVED_POD_FIELDS
    ),
    Case(
        "pod-containers",
        {"podTemplate": {"spec": {"containers": [{"name": "sidecar"}]}}},
        {"podTemplate": {"spec": {"initContainers": [{"name": "sidecar", "image": "a", "restartPolicy": "Always"}]}}},
        kubernetes="second_container_keeps_the_job",
    ),
    *(
        Case(
            f"container-{field}",
            container(**{field: _CONTAINER_VALUES.get(field, "/x")}),
            container(env=[{"name": "A", "value": "b"}]),
            kubernetes="container_field_is_the_operators",
        )
        for field in RESERVED_CONTAINER_FIELDS
    ),
    Case(
        "container-env",
        container(env=[{"name": "KUBEFLOW_TRAINER_SERVER_URL", "value": "x"}]),
        container(env=[{"name": "NCCL_DEBUG", "value": "INFO"}]),
        kubernetes="container_field_is_the_operators",
    ),
    *(
        Case(
            "container-env",
            container(env=[{"name": name, "value": "x"}]),
            container(env=[{"name": f"MY_{name}", "value": "x"}]),
            kubernetes="container_field_is_the_operators",
        )
        for name in ("POD_NAME", "ALIGNMENT_CONFIG_DIR")
    ),
    *(
        Case(
            "container-mounts",
            container(volumeMounts=[{"name": "mine", "mountPath": path}]),
            container(volumeMounts=[{"name": "mine", "mountPath": f"/mine{path}"}]),
            kubernetes="container_field_is_the_operators",
        )
        for path in ("/etc/alignment", "/output", "/dev/termination-log")
    ),
    Case(
        "init-container-name",
        {"podTemplate": {"spec": {"initContainers": [{"name": "trainer", "image": "a"}]}}},
        {"podTemplate": {"spec": {"initContainers": [{"name": "prepare", "image": "a"}]}}},
        kubernetes="the_api_server_refuses_the_pod",
    ),
    Case(
        "container-mounts",
        container(volumeMounts=[{"name": "mine", "mountPath": "/etc/alignment/x"}]),
        container(volumeMounts=[{"name": "mine", "mountPath": "/data"}]),
        kubernetes="container_field_is_the_operators",
    ),
    Case(
        "pod-volumes",
        {"podTemplate": {"spec": {"volumes": [{"name": "alignment-config", "emptyDir": {}}]}}},
        {"podTemplate": {"spec": {"volumes": [{"name": "mine", "emptyDir": {}}]}}},
        kubernetes="pod_field_is_the_operators",
    ),
    *(
        Case(
            "pod-labels",
            {"podTemplate": {"metadata": {"labels": {label: "x"}}}},
            {"podTemplate": {"metadata": {"labels": {"team": "x"}}}},
            kubernetes="pod_field_is_the_operators",
        )
        for label in (
            "kueue.x-k8s.io/queue-name",
            "alignment-operator.io/job",
            "batch.kubernetes.io/job-name",
            "app.kubernetes.io/managed-by",
        )
    ),
]
