"""podTemplate: merged by name as in a strategic merge; what a run needs is refused with its path."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.api.validation import problems
from alignment_operator.overlay import apply, merge
from alignment_operator.problems import SpecProblem
from tests.integration.api.server import manifest
from tests.rule_cases import CASES, Case, Json, spec
from tests.unit.operator.manifests import SETTINGS, pod_of


@pytest.mark.parametrize(
    ("key", "base", "patch", "merged"),
    [
        pytest.param("spec", {"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}, id="maps-by-key"),
        pytest.param("spec", {"a": 1, "b": 2}, {"b": None}, {"a": 1}, id="null-deletes"),
        pytest.param("spec", {"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}, id="maps-in-maps"),
        pytest.param(
            "env",
            [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
            [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
            id="lists-by-name",
        ),
        pytest.param(
            "volumeMounts",
            [{"mountPath": "/a", "name": "x"}],
            [{"mountPath": "/b", "name": "x"}],
            [{"mountPath": "/a", "name": "x"}, {"mountPath": "/b", "name": "x"}],
            id="mounts-by-path",
        ),
        pytest.param(
            "tolerations", [{"key": "a"}], [{"key": "a"}, {"key": "b"}], [{"key": "a"}, {"key": "b"}], id="union"
        ),
        pytest.param("command", ["a"], ["b"], ["b"], id="other-lists-are-replaced"),
    ],
)
def test_strategic_merge(key: str, base: Any, patch: Any, merged: Any) -> None:
    assert merge(base, patch, key) == merged


def test_neither_side_of_a_merge_is_changed() -> None:
    base: dict[str, Any] = {"env": [{"name": "A", "value": "1"}]}
    patch = {"env": [{"name": "A", "value": "2"}]}
    merge(base, patch)["env"][0]["value"] = "3"
    assert (base["env"][0]["value"], patch["env"][0]["value"]) == ("1", "2")


def overlaid(spec: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    template = {"spec": spec} | ({"metadata": metadata} if metadata else {})
    return pod_of(SETTINGS, podTemplate=template)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runtimeClassName", "nvidia"),
        ("serviceAccountName", "trainer"),
        ("affinity", {"nodeAffinity": {}}),
        ("hostAliases", [{"ip": "10.0.0.1", "hostnames": ["a"]}]),
        ("schedulerName", "volcano"),
    ],
)
def test_what_kubernetes_knows_and_we_do_not_care_about_is_merged(field: str, value: Any) -> None:
    assert overlaid({field: value})[field] == value


def test_the_operators_tolerations_stay_beside_the_users() -> None:
    keys = [toleration["key"] for toleration in overlaid({"tolerations": [{"key": "spot"}]})["tolerations"]]
    assert keys == ["nvidia.com/gpu", "spot"]


def test_a_users_environment_wins_where_it_is_not_reserved() -> None:
    pod = overlaid({"containers": [{"name": "trainer", "env": [{"name": "HF_HOME", "value": "/data"}]}]})
    assert [v["value"] for v in pod["containers"][0]["env"] if v["name"] == "HF_HOME"] == ["/data"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        pytest.param({"restartPolicy": "OnFailure"}, "spec.restartPolicy", id="restart-policy"),
        pytest.param({"activeDeadlineSeconds": 1}, "spec.activeDeadlineSeconds", id="deadline"),
        pytest.param({"terminationGracePeriodSeconds": 1}, "spec.terminationGracePeriodSeconds", id="grace"),
        pytest.param({"priorityClassName": "p"}, "spec.priorityClassName", id="priority"),
        pytest.param({"automountServiceAccountToken": True}, "spec.automountServiceAccountToken", id="credentials"),
        pytest.param({"hostname": "h"}, "spec.hostname", id="hostname"),
        pytest.param({"subdomain": "h"}, "spec.subdomain", id="subdomain"),
        pytest.param({"shareProcessNamespace": True}, "spec.shareProcessNamespace", id="process-namespace"),
        pytest.param({"volumes": [{"name": "alignment-output"}]}, "spec.volumes[0].name", id="our-volume"),
        pytest.param({"initContainers": [{"name": "trainer"}]}, "spec.initContainers[0].name", id="our-container-name"),
        pytest.param({"containers": [{"name": "sidecar"}]}, "spec.containers[0].name", id="second-container"),
        *(
            pytest.param(
                {"containers": [{"name": "trainer", field: value}]},
                f"spec.containers[0].{field}",
                id=f"trainer-{field}",
            )
            for field, value in {
                "image": "i",
                "command": ["sh"],
                "args": ["a"],
                "resources": {},
                "securityContext": {"privileged": True},
                "lifecycle": {},
                "terminationMessagePath": "/t",
            }.items()
        ),
        *(
            pytest.param(
                {"containers": [{"name": "trainer", "env": [{"name": "A"}, {"name": name}]}]},
                "spec.containers[0].env[1].name",
                id=name,
            )
            for name in ("ALIGNMENT_CONFIG_DIR", "KUBEFLOW_TRAINER_SERVER_URL", "POD_UID", "JOB_COMPLETION_INDEX")
        ),
        *(
            pytest.param(
                {"containers": [{"name": "trainer", "volumeMounts": [{"name": "a", "mountPath": mount}]}]},
                "spec.containers[0].volumeMounts[0].mountPath",
                id=mount,
            )
            for mount in ("/output", "/etc/alignment", "/tmp/", "/dev/shm")
        ),
    ],
)
def test_what_a_run_needs_is_reserved(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecProblem) as refused:
        overlaid(spec)
    assert refused.value.path == f"spec.podTemplate.{path}"
    assert refused.value.message.endswith(".")


@pytest.mark.parametrize(
    "label", ["alignment-operator.io/job", "app.kubernetes.io/managed-by", "kueue.x-k8s.io/queue-name"]
)
def test_labels_by_which_pods_are_found_are_reserved(label: str) -> None:
    with pytest.raises(SpecProblem, match="label"):
        overlaid({}, {"labels": {label: "x"}})


def is_merged(template: Json) -> bool:
    """Whether the overlay lets this podTemplate through."""
    try:
        overlaid(template.get("spec", {}), template.get("metadata"))
    except SpecProblem:
        return False
    return True


@pytest.mark.parametrize("case", [case for case in CASES if "podTemplate" in case.bad], ids=lambda case: case.rule)
def test_the_overlay_and_the_rules_refuse_the_same_templates(case: Case) -> None:
    assert not is_merged(case.bad["podTemplate"])
    assert is_merged(case.good["podTemplate"])


def trainer(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "trainer", **fields}]}}


def mounted(path: str, name: str = "mine") -> Json:
    return trainer(volumeMounts=[{"name": name, "mountPath": path}])


@pytest.mark.parametrize(
    "template",
    [
        *(
            mounted(path + tail)
            for path in ("/etc/alignment", "/output", "/tmp")
            for tail in ("", "/", "//", "/x", "x")
        ),
        mounted("/etc"),
        mounted("output"),
        mounted("/data", "alignment-cache"),
        *(trainer(env=[{"name": name}]) for name in ("POD_NAME", "POD_NAMESPACE", "ALIGNMENT_X", "MY_ALIGNMENT_X")),
    ],
    ids=str,
)
def test_the_overlay_and_the_rules_agree_at_the_edges(template: Json) -> None:
    assert is_merged(template) == (problems(manifest(spec({"podTemplate": template}))) == [])


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("imagePullSecrets", ["registry"], "[{name: ...}]"),
        ("tolerations", {"key": "gpu"}, "[{key: ...}]"),
        ("tolerations", ["gpu"], "[{key: ...}]"),
        ("topologySpreadConstraints", "zone", "[{topologyKey: ...}]"),
    ],
)
def test_a_list_that_the_definition_does_not_declare_is_refused_with_its_form(name: str, value: Any, cure: str) -> None:
    template = {"spec": {"imagePullSecrets": [{"name": "a"}], "tolerations": [{"key": "x"}]}}
    with pytest.raises(SpecProblem) as refused:
        apply(template, {"spec": {name: value}})
    assert refused.value.path == f"spec.podTemplate.spec.{name}"
    assert cure in refused.value.message
