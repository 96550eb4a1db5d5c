"""Which end of a pod means what, and what the Job does about it."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.failures import CLASSES, EXIT_CODES, classify_pod, pod_failure_policy
from tests.unit.operator.builders import Pod


@pytest.mark.parametrize(
    ("pod", "failure_class"),
    [
        pytest.param(Pod().exited(78), "UserError", id="78"),
        pytest.param(Pod().exited(80), "GpuOutOfMemory", id="80"),
        pytest.param(Pod().exited(75), "Preempted", id="75-stopped-by-SIGTERM"),
        pytest.param(Pod().exited(143), "Preempted", id="143-died-of-SIGTERM"),
        pytest.param(Pod().exited(42), "Internal", id="a-code-of-no-meaning"),
        pytest.param(Pod().exited(137, reason="OOMKilled"), "HostOutOfMemory", id="137-by-the-OOM-killer"),
        pytest.param(Pod().exited(137), "Killed", id="137-by-anything-else"),
        pytest.param(Pod().disrupted().exited(137), "Preempted", id="disruption-wins-as-in-the-policy"),
        pytest.param(Pod().disrupted(), "Preempted", id="disrupted-before-its-container-ended"),
        pytest.param(
            Pod().refused_by_kubelet("Evicted", "emptyDir limit"), "StorageError", id="evicted-for-its-own-disk"
        ),
        pytest.param(
            Pod().refused_by_kubelet("UnexpectedAdmissionError", "device plugin"),
            "Infrastructure",
            id="kubelet-refuses",
        ),
        pytest.param(Pod().init_exited("fetch", 1), "Internal", id="a-users-init-container"),
    ],
)
def test_a_pods_end_has_one_class(pod: Pod, failure_class: str) -> None:
    assert classify_pod(pod.view()).name == failure_class


def _action(code: int | None, disrupted: bool = False) -> str:
    """What the Job controller does by its documented semantics: the first matching rule, else Count."""
    for rule in pod_failure_policy()["rules"]:
        codes = rule.get("onExitCodes", {}).get("values", [])
        conditions = [c["type"] for c in rule.get("onPodConditions", [])]
        if code in codes or (disrupted and "DisruptionTarget" in conditions):
            return str(rule["action"])
    return "Count"


ACTIONS = {"never": "FailJob", "counted": "Count", "free": "Ignore"}


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_the_job_retries_as_the_class_says(code: int) -> None:
    assert _action(code) == ACTIONS[CLASSES[EXIT_CODES[code]].retry]


def test_a_disruption_is_free_whatever_the_exit_code() -> None:
    assert {_action(code, disrupted=True) for code in (78, 70, 137, None)} == {"Ignore"}


def test_the_policy_is_one_that_the_api_server_admits() -> None:
    """batch/v1: at most 20 rules, sorted unique non-zero codes, no restriction to a container that is not there."""
    rules: list[dict[str, Any]] = pod_failure_policy()["rules"]
    for codes in (rule["onExitCodes"] for rule in rules if "onExitCodes" in rule):
        assert codes["values"] == sorted(set(codes["values"]))
        assert 0 not in codes["values"]
        assert codes["containerName"] == "trainer"
    assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: kind.name)
def test_every_class_has_a_cure_that_names_a_field(kind: Any) -> None:
    assert kind.cure.endswith(".")
    assert "spec." in kind.cure or kind.name == "Preempted"
