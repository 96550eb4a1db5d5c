"""What is kept of a child object, from the JSON that the API server sends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alignment_operator.observed import project_event, project_job, project_upstream
from alignment_operator.podprojection import project_pod
from tests.unit.operator.builders import CLAIM, NOW, UID, Job, Pod, at, failed_create


@pytest.mark.parametrize("project", [project_job, project_pod, project_event])
@pytest.mark.parametrize("obj", [{}, {"metadata": {}, "spec": {}, "status": {}}])
def test_a_half_filled_object_is_no_error(project: Any, obj: dict[str, Any]) -> None:
    project(obj)


def test_a_job_is_ours_by_label_and_owner() -> None:
    mine = Job()
    assert mine.view().ours
    assert mine.view().owner_uid == UID
    unlabelled, orphan = Job(), Job()
    unlabelled.obj["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    orphan.obj["metadata"]["ownerReferences"] = []
    assert not unlabelled.view().ours
    assert not orphan.view().ours


def test_job_facts() -> None:
    view = Job(run=3).queued("gpus").deadline(60).failed("PodFailurePolicy", "why").view()
    assert (view.name, view.run, view.owner, view.uid) == ("demo-r3", 3, "demo", "job-3")
    assert (view.queue_name, view.suspended, view.active_deadline_seconds) == ("gpus", True, 60)
    condition = view.condition("Failed")
    assert condition is not None
    assert (condition.reason, condition.message) == ("PodFailurePolicy", "why")
    assert view.condition("Complete") is None


def test_pod_facts() -> None:
    view = Pod(index=2).exited(78, "words").view()
    assert (view.job_name, view.job_uid, view.index, view.node) == ("demo-r1", "job-1", 2, "node-2")
    assert view.terminated is not None
    assert (view.terminated.exit_code, view.terminated.message) == (78, "words")
    assert view.terminated.finished == NOW - timedelta(seconds=5)
    assert view.ended


def test_deletion_is_dated_by_its_request_although_kubernetes_writes_its_end() -> None:
    view = Pod().running().deleted(-30, grace=600).view()
    assert view.deleting_since == NOW - timedelta(seconds=30)
    assert view.gone_at == NOW + timedelta(seconds=570)


@pytest.mark.parametrize(
    ("pod", "waiting"),
    [
        pytest.param(Pod().waiting("ImagePullBackOff", "m"), ("ImagePullBackOff", "m"), id="a-reason"),
        pytest.param(Pod().waiting("ContainerCreating"), None, id="a-stage"),
        pytest.param(Pod().init_exited("fetch", 1), None, id="behind-init-containers"),
        pytest.param(Pod().running(), None, id="running"),
    ],
)
def test_why_a_container_waits(pod: Pod, waiting: tuple[str, str] | None) -> None:
    assert pod.view().waiting == waiting


def test_a_failed_init_container_ends_the_pod_in_the_trainers_stead() -> None:
    view = Pod().init_exited("fetch", 3).view()
    assert view.terminated is not None
    assert (view.terminated.container, view.terminated.exit_code) == ("fetch", 3)


@pytest.mark.parametrize(
    ("pod", "lost"),
    [
        pytest.param(Pod().running(), False, id="answers"),
        pytest.param(Pod().running().node_silent(), True, id="ready-taken-away-by-the-node-controller"),
        pytest.param(Pod().node_silent(), False, id="not-running-yet"),
    ],
)
def test_a_silent_node(pod: Pod, lost: bool) -> None:
    assert pod.view().node_lost is lost


def test_events_of_both_api_groups() -> None:
    old = failed_create("exceeded quota", -30)
    about = {"kind": "Job", "namespace": "team-a", "name": "demo-r1"}
    new = project_event({"regarding": about, "reason": "FailedCreate", "note": "exceeded quota", "eventTime": at(-30)})
    assert old == new


def test_upstream_by_its_status() -> None:
    obj = {
        "spec": {"model": {"modelNameOrPath": "m", "usePeft": True}, "output": {"volume": CLAIM, "merge": True}},
        "status": {
            "run": 2,
            "outputPath": "/output/x",
            "conditions": [{"type": "Complete", "status": "True", "reason": "Complete"}],
            "result": {"artifacts": {"adapter": "."}},
        },
    }
    view = project_upstream("first", obj)
    assert (view.exists, view.complete, view.failed, view.run, view.output_path) == (True, True, False, 2, "/output/x")
    assert (view.volume, view.adapter, view.merged, view.artifacts) == (CLAIM, True, True, {"adapter": "."})
    assert not project_upstream("first", None).exists
