"""Workloads in the store: read from the object, found by the Job that they belong to."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.resources import ALIGNMENT_JOBS, JOBS, WORKLOADS
from alignment_operator.store import Key, Store
from alignment_operator.views import Kueue
from alignment_operator.workloads import alignment_job_of, project_workload
from tests.unit.operator.builders import NAME, NAMESPACE, UID, Job, alignment_job
from tests.unit.operator.workload_builder import NO_ROOM, Workload

KEY = Key(NAMESPACE, NAME)


def stored(version: int, **spec: Any) -> dict[str, Any]:
    """The AlignmentJob as a watch brings it."""
    obj = alignment_job(**spec).to_object()
    obj["metadata"] |= {"resourceVersion": str(version)}
    return obj


def child(version: int, uid: str = "job-1") -> dict[str, Any]:
    obj = Job().queued().obj
    obj["metadata"] |= {"uid": uid, "resourceVersion": str(version)}
    return obj


@pytest.fixture
def store() -> Store:
    made = Store()
    made.found_kueue(None, Kueue.PRESENT)
    made.put(ALIGNMENT_JOBS, stored(1, queueName="gpus"))
    return made


def test_what_is_read_of_a_workload() -> None:
    view = Workload().pending().inactive("alignment-operator").view()
    assert (view.job_name, view.job_uid, view.queue_name, view.api) == (
        "demo-r1",
        "job-1",
        "gpus",
        "kueue.x-k8s.io/v1beta2",
    )
    assert (view.active, view.set_by_us) == (False, True)
    quota = view.condition("QuotaReserved")
    assert quota is not None
    assert (quota.status, quota.message) == ("False", NO_ROOM)


@pytest.mark.parametrize("obj", [{}, {"metadata": {}}, {"metadata": {"ownerReferences": None}, "status": {}}])
def test_a_half_filled_workload_is_read_as_active(obj: dict[str, Any]) -> None:
    assert project_workload(obj).active


@pytest.mark.parametrize(
    ("manager", "fields", "ours"),
    [
        ("alignment-operator", {"f:spec": {"f:active": {}}}, True),
        ("alignment-operator", {"f:spec": {"f:queueName": {}}}, False),
        ("kueue", {"f:spec": {"f:active": {}}}, False),
    ],
)
def test_only_our_field_manager_on_active_means_that_we_wrote_it(manager: str, fields: dict, ours: bool) -> None:
    metadata = {"managedFields": [{"manager": manager, "operation": "Update", "fieldsV1": fields}]}
    assert project_workload({"metadata": metadata}).set_by_us is ours


@pytest.mark.parametrize(
    ("kind", "name", "parent"),
    [
        ("Job", "demo-r1", "demo"),
        ("Job", "a-r2-r13", "a-r2"),
        ("Job", "other", None),
        ("JobSet", "demo-r1", None),
    ],
)
def test_the_job_s_name_says_whose_run_it_is(kind: str, name: str, parent: str | None) -> None:
    owner = {"kind": kind, "name": name, "uid": "u", "controller": True}
    assert alignment_job_of({"metadata": {"ownerReferences": [owner]}}) == parent


def test_a_workload_may_come_before_its_job(store: Store) -> None:
    assert store.put(WORKLOADS, Workload().obj) == [KEY]
    assert store.observe(KEY, UID, 1).workload is None
    store.put(JOBS, child(8))
    found = store.observe(KEY, UID, 1).workload
    assert found is not None
    assert found.uid == "workload-1"


def test_the_workload_of_a_deleted_job_of_that_name_is_not_taken(store: Store) -> None:
    store.put(WORKLOADS, Workload().obj)
    store.put(JOBS, child(8, uid="made-again"))
    assert store.observe(KEY, UID, 1).workload is None


def test_nothing_new_in_a_workload_concerns_nobody(store: Store) -> None:
    workload = Workload().pending().obj
    store.put(WORKLOADS, workload)
    workload["metadata"]["resourceVersion"] = "9"
    workload["metadata"]["annotations"] = {"a": "b"}
    assert store.put(WORKLOADS, workload) == []


def test_kueue_s_coming_and_going_concerns_the_jobs_with_a_queue(store: Store) -> None:
    store.put(WORKLOADS, Workload().obj)
    store.put(JOBS, child(8))
    other = stored(2)
    other["metadata"] |= {"name": "free"}
    store.put(ALIGNMENT_JOBS, other)
    assert store.found_kueue(None, Kueue.PRESENT) == []
    assert store.found_kueue(None, Kueue.ABSENT) == [KEY]
    seen = store.observe(KEY, UID, 1)
    assert (seen.kueue, seen.workload) == (Kueue.ABSENT, None)


def test_what_was_found_in_one_namespace_says_nothing_of_another() -> None:
    store = Store()
    store.found_kueue("team-b", Kueue.FORBIDDEN)
    assert store.observe(KEY, UID, 1).kueue is Kueue.UNKNOWN
    store.found_kueue(NAMESPACE, Kueue.PRESENT)
    assert store.observe(KEY, UID, 1).kueue is Kueue.PRESENT
