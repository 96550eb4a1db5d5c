"""What Argo CD, kstatus and Flux say of an AlignmentJob in every state of its life: the table of docs/gitops.md."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.integration.apiserver import ApiServer
from tests.integration.gitops import engines
from tests.integration.gitops.states import every_state


@dataclass(frozen=True)
class Verdict:
    """Argo CD's health, kstatus, and Flux with the expressions for accepted and for complete."""

    argo: str
    kstatus: str
    accepted: str
    complete: str


BEFORE = Verdict("Progressing", "InProgress", "InProgress", "InProgress")
MOVING = Verdict("Progressing", "InProgress", "Current", "InProgress")
RUNNING = Verdict("Progressing", "Current", "Current", "InProgress")
HELD = Verdict("Suspended", "Current", "Current", "InProgress")
STOPPED_BY_KUEUE = Verdict("Suspended", "InProgress", "Current", "InProgress")
WAITS_IN_VAIN = Verdict("Degraded", "InProgress", "Current", "InProgress")
DONE = Verdict("Healthy", "Current", "Current", "Current")
FAILED = Verdict("Degraded", "Failed", "Current", "Failed")
REFUSED = Verdict("Degraded", "Failed", "Failed", "Failed")

TABLE = {
    BEFORE: "not-looked-at spec-changed-and-not-looked-at run-begins-in-a-queue rerun-waits-for-pods "
    "run-begins rerun-begins",
    MOVING: "job-without-pods-yet pod-is-starting one-of-two-runs unschedulable unschedulable-for-a-moment "
    "image-cannot-be-pulled secret-is-missing quota node-is-silent pod-that-cannot-be-removed pod-is-being-stopped "
    "between-attempts admitted-and-not-started succeeded-before-its-phase-says-so failed-before-its-phase-says-so "
    "pod-failed-and-job-not-yet peers-of-the-culprit-still-run last-failure-that-counts job-stops-its-pods "
    "leader-is-done pod-is-done-and-its-job-has-not-counted-it",
    RUNNING: "running both-run a-peer-is-done quota-that-was-raised a-pod-of-the-job-that-was-deleted-by-hand",
    HELD: "waits-in-queue queue-has-no-room preempted suspended suspended-in-a-queue applied-suspended "
    "waits-for-another-job rerun-is-suspended rerun-waits-for-another-job",
    STOPPED_BY_KUEUE: "deactivated-by-kueue",
    WAITS_IN_VAIN: "waits-for-a-job-that-failed queue-does-not-exist kueue-is-not-installed",
    DONE: "complete complete-and-its-job-removed complete-and-ttl-changed",
    FAILED: "failed",
    REFUSED: "refused name-is-taken rerun-is-refused",
}
EXPECTED = {name: verdict for verdict, names in TABLE.items() for name in names.split()}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    states = every_state()
    argo, flux = engines.argo(states.values()), engines.flux(states.values())
    return {
        name: Verdict(one.health, two.kstatus, two.accepted, two.complete)
        for name, one, two in zip(states, argo, flux, strict=True)
    }


def test_no_state_is_without_a_verdict() -> None:
    assert every_state().keys() == EXPECTED.keys(), "a state that the unit tests know belongs into TABLE"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_state_is_judged(name: str, verdicts: dict[str, Verdict]) -> None:
    assert verdicts[name] == EXPECTED[name]


def test_argo_cd_shows_the_sentence_that_says_what_to_do() -> None:
    states = every_state()
    for name, shown in zip(states, engines.argo(states.values()), strict=True):
        sentences = {c["message"] for c in states[name]["status"].get("conditions", ())}
        assert shown.message in sentences or "not-looked-at" in name, name
    (failed,) = engines.argo([states["failed"]])
    failure = states["failed"]["status"]["failure"]
    assert failure["message"] in failed.message
    assert failure["cure"] in failed.message


def test_kubectl_wait_takes_no_end_of_an_older_spec(apiserver: ApiServer, namespace: str) -> None:
    states, about = every_state(), ["-n", namespace, "alignmentjob", "demo"]
    obj = {**states["complete"], "metadata": {"name": "demo", "namespace": namespace}}
    apiserver.kubectl("create", "-f", "-", input=json.dumps(obj))
    assert waited(apiserver, states["complete"], about)
    apiserver.kubectl("patch", *about, "--type=merge", "-p", '{"spec":{"rerun":"b"}}')
    assert not waited(apiserver, states["rerun-waits-for-another-job"], about)


def waited(apiserver: ApiServer, state: dict, about: list[str]) -> bool:
    """Whether `kubectl wait --for=condition=Complete` is content with this status."""
    status = json.dumps({"status": state["status"]})
    apiserver.kubectl("patch", *about, "--subresource=status", "--type=merge", "-p", status)
    return apiserver.kubectl("wait", *about, "--for=condition=Complete", "--timeout=1s", check=False).returncode == 0
