"""The store takes watch events, LISTs and our own writes in any order, and tells which AlignmentJobs are concerned."""

import itertools
from typing import Any

import pytest

from alignment_operator.resources import ALIGNMENT_JOBS, EVENTS, JOBS, PODS
from alignment_operator.store import Key, Store

KEY = Key("team", "demo")


def alignment_job(
    version: int, name: str = "demo", *, status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    metadata = {
        "namespace": "team",
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": str(version),
    }
    return {"metadata": metadata | {"managedFields": [{}]}, "spec": spec, "status": status or {}}


def child(
    version: int, *, uid: str = "job-1", run: int = 1, suspend: bool = False, owner: str = "uid-demo"
) -> dict[str, Any]:
    labels = {"alignment-operator.io/job": "demo", "alignment-operator.io/run": str(run)}
    owners = [{"kind": "AlignmentJob", "uid": owner, "controller": True}]
    metadata = {"namespace": "team", "name": f"demo-r{run}", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | {"labels": labels, "ownerReferences": owners}, "spec": {"suspend": suspend}}


def pod(version: int, name: str, phase: str = "Running", run: int = 1) -> dict[str, Any]:
    labels = {"alignment-operator.io/job": "demo", "alignment-operator.io/run": str(run)}
    metadata = {"namespace": "team", "name": name, "uid": name, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase}}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.mark.parametrize(
    ("before", "after", "concerned"),
    [
        ({"x": 1}, {"x": 1}, False),
        ({"x": 1}, {"x": 2}, True),
        ({"x": 1}, {"x": 1, "progress": {"step": 1}}, False),
        ({"x": 1, "metrics": [1]}, {"x": 1, "metrics": [2]}, False),
        ({"x": 1, "progress": {"step": 1}}, {"x": 1}, False),
        ({"progress": {"step": 1}}, {"progress": {"step": 2}, "x": 1}, True),
    ],
)
def test_progress_and_metrics_alone_concern_nobody_but_are_kept(store, before, after, concerned):
    store.put(ALIGNMENT_JOBS, alignment_job(1, status=before))
    assert store.put(ALIGNMENT_JOBS, alignment_job(2, status=after)) == ([KEY] if concerned else [])
    assert store.job(KEY)["status"] == after
    assert store.job(KEY)["metadata"]["resourceVersion"] == "2"


def test_an_older_object_never_replaces_a_newer_one(store):
    store.put(JOBS, child(5, suspend=True))
    assert store.put(JOBS, child(4, suspend=False)) == []
    assert store.observe(KEY, "uid-demo", 1).job.suspended is True


@pytest.mark.parametrize("order", list(itertools.permutations(["list at 5", "deleted at 7", "made again at 9"])))
def test_in_whatever_order_they_arrive_the_newest_news_wins(store, order):
    news = {
        "list at 5": lambda: store.put(JOBS, child(5, uid="first")),
        "deleted at 7": lambda: store.drop(JOBS, child(7, uid="first")),
        "made again at 9": lambda: store.put(JOBS, child(9, uid="second")),
    }
    for each in order:
        news[each]()
    assert store.observe(KEY, "uid-demo", 1).job.uid == "second"


def test_a_list_takes_away_what_it_no_longer_has_but_not_what_came_after_it(store):
    store.put(PODS, pod(3, "old"))
    store.put(PODS, pod(9, "new"))
    store.put(PODS, pod(4, "still"))
    assert store.prune(PODS, None, {Key("team", "still")}, 8) == [KEY]
    assert [p.name for p in store.observe(KEY, "uid-demo", 1).pods] == ["new", "still"]


def test_a_list_of_one_namespace_says_nothing_of_another(store):
    store.put(PODS, pod(3, "old"))
    assert store.prune(PODS, "elsewhere", set(), 8) == []
    assert len(store.observe(KEY, "uid-demo", 1).pods) == 1


def test_a_heartbeat_of_a_pod_concerns_nobody(store):
    first = pod(3, "a")
    assert store.put(PODS, first) == [KEY]
    beat = pod(4, "a")
    beat["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastProbeTime": "2026-11-22T00:00:00Z"}]
    assert store.put(PODS, beat) == []
    assert store.put(PODS, pod(5, "a", "Failed")) == [KEY]


def test_counts_of_a_jobs_pods_that_the_pods_tell_themselves_concern_nobody(store):
    store.put(JOBS, child(1))
    counted = child(2) | {"status": {"active": 2, "ready": 1, "terminating": 1}}
    assert store.put(JOBS, counted) == []
    assert store.put(JOBS, child(3) | {"status": {"succeeded": 1}}) == [KEY]


def test_children_of_an_earlier_alignment_job_of_the_name_are_not_its_job(store):
    store.put(JOBS, child(3, owner="uid-of-the-one-before"))
    store.put(PODS, pod(4, "left-over"))
    observed = store.observe(KEY, "uid-demo", 1)
    assert observed.job is None
    assert [p.name for p in observed.pods] == ["left-over"], "it may still write the run's folder"


def test_pods_and_jobs_of_another_run_are_not_observed(store):
    store.put(JOBS, child(3, run=1))
    store.put(PODS, pod(4, "one", run=1))
    assert store.observe(KEY, "uid-demo", 2).job is None
    assert store.observe(KEY, "uid-demo", 2).pods == ()


def test_a_job_that_we_deleted_is_on_its_way_out_until_the_watch_says_more(store):
    store.put(JOBS, child(3))
    store.deleting(store.observe(KEY, "uid-demo", 1).job)
    assert store.observe(KEY, "uid-demo", 1).job.deleting
    store.put(JOBS, child(4))
    assert not store.observe(KEY, "uid-demo", 1).job.deleting


def test_who_waits_for_a_job_is_concerned_by_its_changes_until_it_started(store):
    store.put(ALIGNMENT_JOBS, alignment_job(1, "first"))
    store.put(ALIGNMENT_JOBS, alignment_job(2, "next", model={"fromJob": "first"}))
    assert store.put(ALIGNMENT_JOBS, alignment_job(3, "first", status={"phase": "Complete"})) == [
        Key("team", "first"),
        Key("team", "next"),
    ]
    store.put(ALIGNMENT_JOBS, alignment_job(4, "next", model={"fromJob": "first"}, status={"jobName": "next-r1"}))
    assert store.put(ALIGNMENT_JOBS, alignment_job(5, "first")) == [Key("team", "first")]
    assert store.observe(Key("team", "next"), "uid-next", 0).upstream.name == "first"


@pytest.mark.parametrize(("status", "awaits"), [({}, True), ({"phase": "Pending"}, True), ({"run": 1}, False)])
def test_a_job_is_awaited_until_a_run_has_begun(store, status, awaits):
    assert not store.awaits_job(KEY)
    store.put(ALIGNMENT_JOBS, alignment_job(1, status=status))
    assert store.awaits_job(KEY) is awaits


def test_failed_creates_are_kept_by_job_and_the_same_one_only_once(store):
    store.put(JOBS, child(3))
    about = {"kind": "Job", "namespace": "team", "name": "demo-r1"}
    event = {"metadata": {"namespace": "team", "name": "e"}, "involvedObject": about, "reason": "FailedCreate"}
    assert store.put(EVENTS, {**event, "message": "exceeded quota"}) == [KEY]
    store.put(EVENTS, {**event, "message": "exceeded quota"})
    assert [e.message for e in store.observe(KEY, "uid-demo", 1).events] == ["exceeded quota"]


def gpu_pod(version: int, name: str, run: int = 1) -> dict[str, Any]:
    held = pod(version, name, run=run)
    held["spec"]["containers"] = [{"name": "trainer", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    return held


@pytest.mark.parametrize(
    ("deleted", "remembered"),
    [
        pytest.param(gpu_pod(9, "a"), ["a"], id="it-held-a-gpu"),
        pytest.param(pod(9, "a"), [], id="it-held-none"),
        pytest.param(gpu_pod(9, "a", run=2), [], id="of-another-run"),
    ],
)
@pytest.mark.parametrize("how", ["event", "list"])
def test_a_deleted_pod_is_remembered_until_its_gpu_time_is_counted(store, deleted, remembered, how):
    store.put(ALIGNMENT_JOBS, alignment_job(1, status={"run": 1}))
    store.put(PODS, {**deleted, "metadata": {**deleted["metadata"], "resourceVersion": "3"}})
    if how == "event":
        store.event(PODS, {"type": "DELETED", "object": deleted})
    else:
        store.prune(PODS, None, set(), 10)
    gone = store.observe(KEY, "uid-demo", 1).gone
    assert [view.name for view in gone] == remembered
    store.counted(KEY, gone)
    assert store.observe(KEY, "uid-demo", 1).gone == ()
    assert not store._gone


def test_what_is_forgotten_leaves_nothing_behind(store):
    store.put(ALIGNMENT_JOBS, alignment_job(1, status={"run": 1}))
    store.put(JOBS, child(2))
    store.put(PODS, gpu_pod(3, "a"))
    for version, (resource, obj) in enumerate(((PODS, gpu_pod), (JOBS, child), (ALIGNMENT_JOBS, alignment_job)), 10):
        gone = obj(version, "a") if obj is gpu_pod else obj(version)
        assert store.event(resource, {"type": "DELETED", "object": gone}) == [KEY]
    assert store.job_keys() == []
    assert not store._gone
    assert all(not table.rows and not table.by_owner for table in (store._jobs, store._children, store._pods))
