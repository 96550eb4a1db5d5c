"""Reconcile dies at every call in turn, before and after the call's effect, and always ends in the same place."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alignment_operator.cluster import ApiError
from alignment_operator.mergepatch import merge_diff
from alignment_operator.reconcile import Reconciler
from alignment_operator.resources import ALIGNMENT_JOBS, JOBS, PODS
from alignment_operator.settings import Settings
from alignment_operator.statuswriter import PASSING_SECONDS, SILENT_SECONDS
from alignment_operator.store import Key, Store
from tests.unit.operator.fake_cluster import Died, FakeCluster

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
KEY = Key("team", "demo")
SPEC: dict[str, Any] = {
    "model": {"modelNameOrPath": "/models/tiny"},
    "dataset": {"datasetName": "/data/pairs"},
    "dpo": {"beta": 0.1},
    "gpusPerNode": 0,
    "nodes": 2,
    "output": {"volume": {"persistentVolumeClaim": {"claimName": "out"}}},
}


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def alignment_job(**spec: Any) -> dict[str, Any]:
    metadata = {"namespace": KEY.namespace, "name": KEY.name, "uid": "owner", "generation": 1}
    return {"apiVersion": ALIGNMENT_JOBS.api, "kind": "AlignmentJob", "metadata": metadata, "spec": SPEC | spec}


def claim(mode: str = "ReadWriteMany") -> dict[str, Any]:
    metadata = {"namespace": KEY.namespace, "name": "out"}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {"accessModes": [mode]}}


async def settle(cluster: FakeCluster, now: datetime = NOW) -> None:
    """One process' life: list everything, then reconcile until nothing is left to do soon; time passes meanwhile."""
    store, queue, clock = Store(), [KEY], [now]
    for resource in (ALIGNMENT_JOBS, JOBS, PODS):
        for obj in cluster.of(resource.kind):
            store.put(resource, obj)
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", queue.append, lambda: clock[0])  # type: ignore[arg-type]
    silent = 0
    for _ in range(30):
        if not queue or silent > 3:  # what waits for more than time is another test's affair
            return
        queue.clear()
        calls = len(cluster.calls)
        again = await reconciler.reconcile(KEY)
        for resource in (JOBS, PODS):  # the watch
            for obj in cluster.of(resource.kind):
                queue += store.put(resource, obj)
        gone = [
            j
            for j in [store.child(KEY, 1), store.child(KEY, 2)]
            if j and ("Job", "team", j.name) not in cluster.objects
        ]
        for job in gone:
            version = str(cluster._version + 1)
            queue += store.drop(JOBS, {"metadata": {"namespace": "team", "name": job.name, "resourceVersion": version}})
        silent = 0 if any(not call.startswith("list ") for call in cluster.calls[calls:]) else silent + 1
        if again is not None and again <= SILENT_SECONDS:
            clock[0] += timedelta(seconds=again)
            queue.append(KEY)
    pytest.fail(f"it never settles: {cluster.calls[-12:]}")


def fresh(cluster: FakeCluster) -> None:
    cluster.put(claim())
    cluster.put(alignment_job())


def rerun(cluster: FakeCluster) -> None:
    """A live run whose token changes."""
    fresh(cluster)
    asyncio.run(settle(cluster))
    live = cluster.objects["AlignmentJob", "team", "demo"]
    spec, generation = live["spec"] | {"rerun": "2"}, {"generation": 2}
    cluster.put({**live, "spec": spec, "metadata": live["metadata"] | generation})


def ended(cluster: FakeCluster) -> None:
    """A run that has just completed, whose Job is to be deleted at once."""
    cluster.put(claim())
    cluster.put(alignment_job(ttlSecondsAfterFinished=0))
    asyncio.run(settle(cluster))
    job = cluster.objects["Job", "team", "demo-r1"]
    about = {"status": "True", "lastTransitionTime": _stamp(NOW - timedelta(hours=1))}
    conditions = [{"type": "SuccessCriteriaMet", **about}, {"type": "Complete", **about}]
    end = {"conditions": conditions, "succeeded": 2, "completionTime": _stamp(NOW - timedelta(hours=1))}
    cluster.put({**job, "status": {"startTime": _stamp(NOW - timedelta(hours=2)), **end}})


def refused(cluster: FakeCluster) -> None:
    fresh(cluster)
    cluster.refuse = "spec.template.spec.tolerations: bad"


def lost(cluster: FakeCluster) -> None:
    """A run whose Job somebody deleted."""
    fresh(cluster)
    asyncio.run(settle(cluster))
    del cluster.objects["Job", "team", "demo-r1"]


SCENES = [fresh, rerun, ended, refused, lost]
JOBS_MADE = {"fresh": 1, "rerun": 2, "ended": 1, "refused": 0, "lost": 2}


def straight(scene: Callable[[FakeCluster], None]) -> FakeCluster:
    """The scene played without a death; `calls` are those after the scene was set."""
    cluster = FakeCluster()
    scene(cluster)
    cluster.calls.clear()
    asyncio.run(settle(cluster))
    return cluster


CASES = [
    pytest.param(scene, call, after, id=f"{scene.__name__}-{'after' if after else 'before'}-{call}-{what}")
    for scene in SCENES
    for call, what in enumerate(straight(scene).calls)
    for after in (False, True)
]


@pytest.mark.parametrize(("scene", "call", "after"), CASES)
def test_death_at_any_call_changes_nothing_in_the_end(scene, call, after):
    cluster = FakeCluster()
    scene(cluster)
    cluster.die(call, after=after)
    with pytest.raises(Died):
        asyncio.run(settle(cluster))
    asyncio.run(settle(cluster))
    assert picture(cluster) == picture(straight(scene))
    made = [what for what in cluster.created if what.startswith("Job ")]
    assert len(made) == JOBS_MADE[scene.__name__], made


@pytest.mark.parametrize("scene", [s for s in SCENES if s is not refused], ids=lambda scene: scene.__name__)
def test_nothing_is_called_when_nothing_is_left_to_do(scene):
    cluster = straight(scene)
    before = len(cluster.calls)
    asyncio.run(settle(cluster))
    assert cluster.calls[before:] == []


def test_what_the_api_server_refused_is_asked_again_without_a_write_until_it_is_taken():
    """After a restart, and each minute: an admission plugin may say yes one day."""
    cluster = straight(refused)
    before = len(cluster.calls)
    asyncio.run(settle(cluster, NOW + timedelta(minutes=5)))
    assert [call for call in cluster.calls[before:] if not call.startswith("get ")] == ["try Job demo-r1"]
    cluster.refuse = None
    asyncio.run(settle(cluster, NOW + timedelta(minutes=10)))
    assert cluster.created.count("Job demo-r1") == 1
    (accepted,) = [c for c in cluster.of("AlignmentJob")[0]["status"]["conditions"] if c["type"] == "Accepted"]
    assert accepted["status"] == "True"


def test_children_are_made_in_this_order_after_the_status():
    calls = [call for call in straight(fresh).calls if "Event" not in call and not call.startswith("get ")]
    assert calls[:4] == [
        "patch AlignmentJob demo status",
        "create ConfigMap demo-r1",
        "create Service demo-r1",
        "create Job demo-r1",
    ]


class Slow(FakeCluster):
    """Answers the write of status, or that of one kind of child, when it is told to."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.answer = what, asyncio.Event()

    async def patch(self, *args: Any, **more: Any) -> dict[str, Any]:
        done = await super().patch(*args, **more)
        await self._wait("status")
        return done

    async def create(self, resource: Any, manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
        done = await super().create(resource, manifest, **more)
        await self._wait(resource.kind)
        return done

    async def _wait(self, what: str) -> None:
        if what == self.what:
            await self.answer.wait()


@pytest.mark.parametrize("what", ["status", "ConfigMap"])
async def test_a_run_begins_with_both_writes_at_a_time_and_its_job_waits_for_both(what):
    cluster = Slow(what)
    fresh(cluster)
    life = asyncio.create_task(settle(cluster))
    for _ in range(10):
        await asyncio.sleep(0)
    assert "patch AlignmentJob demo status" in cluster.calls
    assert "create ConfigMap demo-r1" in cluster.calls
    assert "create Job demo-r1" not in cluster.calls
    cluster.answer.set()
    await life
    assert cluster.created.count("Job demo-r1") == 1


def overtaken() -> FakeCluster:
    """The user changed the spec while its run began: status is refused, the ConfigMap of the old spec is made."""
    cluster = FakeCluster()
    fresh(cluster)
    store = Store()
    seen = cluster.objects["AlignmentJob", "team", "demo"]
    store.put(ALIGNMENT_JOBS, seen)
    spec = seen["spec"] | {"dpo": {"beta": 0.2}, "hangTimeoutSeconds": 900}
    cluster.put({**seen, "spec": spec, "metadata": seen["metadata"] | {"generation": 2}})
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", lambda key: None, lambda: NOW)  # type: ignore[arg-type]
    with pytest.raises(ApiError, match="Conflict"):
        asyncio.run(reconciler.reconcile(KEY))
    assert not cluster.of("Job")
    assert "beta: 0.1" in cluster.of("ConfigMap")[0]["data"]["recipe.yaml"]
    return cluster


def test_what_was_made_for_a_spec_that_changed_meanwhile_is_replaced_wherever_the_operator_dies():
    for call in range(100):
        cluster = overtaken()
        cluster.die(call, after=True)
        with contextlib.suppress(Died):
            asyncio.run(settle(cluster))
            break
        asyncio.run(settle(cluster))
        assert cluster.created.count("Job demo-r1") == 1
        (config,) = cluster.of("ConfigMap")
        assert "beta: 0.2" in config["data"]["recipe.yaml"]
        assert "hangTimeoutSeconds: 900" in config["data"]["run.yaml"]
    assert call > 5


def test_a_config_map_that_cannot_be_made_beside_the_status_is_tried_again_and_keeps_the_job_back():
    """Of a quota, say: the run has begun, and its Job comes when the ConfigMap could be made."""
    cluster = FakeCluster()
    fresh(cluster)
    cluster.refuse, cluster.refused = "exceeded quota", "ConfigMap"
    with pytest.raises(ApiError, match="exceeded quota"):
        asyncio.run(settle(cluster))
    assert "create Job demo-r1" not in cluster.calls
    assert cluster.of("AlignmentJob")[0]["status"]["jobName"] == "demo-r1"
    cluster.refuse = None
    asyncio.run(settle(cluster))
    assert picture(cluster) == picture(straight(fresh))


def test_a_fresh_job_costs_one_status_write_and_another_if_nothing_happens_to_it_for_long():
    cluster, store, clock = FakeCluster(), Store(), [NOW]
    fresh(cluster)
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", lambda key: None, lambda: clock[0])  # type: ignore[arg-type]
    writes = []
    for second in range(int(SILENT_SECONDS) + 10):
        clock[0] = NOW + timedelta(seconds=second)
        for resource in (ALIGNMENT_JOBS, JOBS):
            for obj in cluster.of(resource.kind):
                store.put(resource, obj)
        asyncio.run(reconciler.reconcile(KEY))
        (job,) = cluster.of("AlignmentJob")
        writes += [(second, job["status"])] * (cluster.calls.count("patch AlignmentJob demo status") - len(writes))
    (first, told), (second, known) = writes
    assert (first, second) == (0, 1 + SILENT_SECONDS)
    assert known == told | {"jobUID": cluster.of("Job")[0]["metadata"]["uid"]}
    assert (told["phase"], told["jobName"]) == ("Starting", "demo-r1")


def test_a_view_that_is_old_makes_no_job():
    """Another leader has ended the run and deleted its Job; our store knows of neither."""
    cluster = FakeCluster()
    fresh(cluster)
    asyncio.run(settle(cluster))
    store = Store()
    for resource in (ALIGNMENT_JOBS, JOBS):
        for obj in cluster.of(resource.kind):
            store.put(resource, obj)
    live, job = cluster.objects["AlignmentJob", "team", "demo"], cluster.objects.pop(("Job", "team", "demo-r1"))
    over = [
        {"type": "Complete", "status": "True", "reason": "Complete", "message": "", "lastTransitionTime": _stamp(NOW)}
    ]
    cluster.put({**live, "status": live["status"] | {"conditions": over, "completionTime": _stamp(NOW)}})
    version = str(cluster._version + 1)
    store.drop(JOBS, {"metadata": job["metadata"] | {"resourceVersion": version}})
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", lambda key: None, lambda: NOW)  # type: ignore[arg-type]
    for _ in range(3):
        with contextlib.suppress(ApiError):  # a conflict on the status write is as good as a look at the live object
            asyncio.run(reconciler.reconcile(KEY))
    assert "Job demo-r1" not in cluster.created[3:]
    assert not cluster.of("Job")


def test_a_job_made_again_under_its_name_waits_for_the_pods_of_the_one_before():
    """They may outlive their Job by their whole grace, and write the same folder."""
    cluster = FakeCluster()
    fresh(cluster)
    labels = {"alignment-operator.io/job": "demo", "alignment-operator.io/run": "1"}
    metadata = {"namespace": "team", "name": "demo-r1-0-abcde", "labels": labels}
    pod = cluster.put({"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running"}})
    asyncio.run(settle(cluster))
    assert not cluster.of("Job")
    assert "demo-r1-0-abcde" in json.dumps(cluster.of("AlignmentJob")[0]["status"]["conditions"])
    cluster.put({**pod, "status": {"phase": "Failed"}})
    asyncio.run(settle(cluster))
    assert [job["metadata"]["name"] for job in cluster.of("Job")] == ["demo-r1"]


def test_what_the_garbage_collector_has_missed_of_a_predecessor_is_deleted():
    """While its watch is broken it takes a job made again for the old one, whose children then stay for ever."""
    cluster = FakeCluster()
    fresh(cluster)
    asyncio.run(settle(cluster))
    pod_of(cluster, "demo-r1-0-a", phase="Running")
    cluster.objects.pop(("AlignmentJob", "team", "demo"))
    job = alignment_job()
    cluster.put({**job, "metadata": job["metadata"] | {"uid": "owner-2"}})
    before = {kind: cluster.of(kind)[0]["metadata"]["uid"] for kind in ("Job", "ConfigMap", "Service")}
    asyncio.run(settle(cluster))
    assert not cluster.of("Job"), "its pod still runs"
    pod_of_old = cluster.objects["Pod", "team", "demo-r1-0-a"]
    cluster.put({**pod_of_old, "status": {"phase": "Failed"}})
    for _ in range(3):  # each name is free a moment after what had it was deleted
        asyncio.run(settle(cluster))
    for kind, uid in before.items():
        (now,) = cluster.of(kind)
        assert now["metadata"]["uid"] != uid
        assert now["metadata"]["ownerReferences"][0]["uid"] == "owner-2"


def test_an_older_view_deletes_nothing_of_its_successor():
    """We know of the new Job, and of its AlignmentJob not yet."""
    cluster = FakeCluster()
    fresh(cluster)
    asyncio.run(settle(cluster))
    store = Store()
    old = alignment_job()
    store.put(ALIGNMENT_JOBS, {**old, "metadata": old["metadata"] | {"uid": "older", "resourceVersion": "1"}})
    store.put(JOBS, cluster.of("Job")[0])
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", lambda key: None, lambda: NOW)  # type: ignore[arg-type]
    before = len(cluster.calls)
    with contextlib.suppress(ApiError):
        asyncio.run(reconciler.reconcile(KEY))
    assert not [call for call in cluster.calls[before:] if call.startswith("delete")]
    assert cluster.of("Job")


def pod_of(cluster: FakeCluster, name: str, **status: Any) -> None:
    """A pod of the live Job."""
    labels = {"alignment-operator.io/job": "demo", "alignment-operator.io/run": "1"}
    labels["batch.kubernetes.io/controller-uid"] = cluster.objects["Job", "team", "demo-r1"]["metadata"]["uid"]
    metadata = {"namespace": "team", "name": name, "uid": name, "labels": labels}
    cluster.put({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "a"}, "status": status})


def waits_for_volumes(cluster: FakeCluster) -> None:
    about = {"lastTransitionTime": _stamp(NOW - timedelta(minutes=1))}
    scheduled = {"type": "PodScheduled", "status": "True", **about}
    sandbox = {"type": "PodReadyToStartContainers", "status": "False", **about}
    pod_of(cluster, "demo-r1-0-b", phase="Pending", conditions=[scheduled, sandbox])
    said = 'MountVolume.SetUp failed for volume "alignment-config" : configmap "demo-r1" not found'
    about = {"kind": "Pod", "uid": "demo-r1-0-b"}
    metadata = {"namespace": "team", "name": "demo-r1-0-b.1"}
    cluster.put(
        {"kind": "Event", "metadata": metadata, "involvedObject": about, "reason": "FailedMount", "message": said}
    )


def begins_again(cluster: FakeCluster) -> None:
    pod_of(cluster, "demo-r1-0-a", phase="Failed")
    pod_of(cluster, "demo-r1-0-b", phase="Pending")


@pytest.mark.parametrize(("kind", "scene"), [("ConfigMap", waits_for_volumes), ("Service", begins_again)])
def test_what_somebody_deleted_beside_a_live_job_is_made_again_when_its_pods_need_it(kind, scene):
    cluster = FakeCluster()
    fresh(cluster)
    asyncio.run(settle(cluster))
    before = cluster.objects.pop((kind, "team", "demo-r1"))
    scene(cluster)
    asyncio.run(settle(cluster))
    (again,) = cluster.of(kind)
    assert again.get("data") == before.get("data")
    assert len([what for what in cluster.created if what.startswith("Job ")]) == 1


def test_an_alignment_job_whose_deletion_was_missed_is_forgotten_when_its_job_is_gone():
    """Its watch may have been broken; to ask for it again and again would find nothing else."""
    cluster = FakeCluster()
    fresh(cluster)
    asyncio.run(settle(cluster))
    store = Store()
    store.put(ALIGNMENT_JOBS, cluster.objects.pop(("AlignmentJob", "team", "demo")))
    cluster.objects.clear()
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", lambda key: None, lambda: NOW)  # type: ignore[arg-type]
    for _ in range(2):
        with contextlib.suppress(ApiError):
            again = asyncio.run(reconciler.reconcile(KEY))
    assert again is None
    assert store.job(KEY) is None


def test_a_passing_change_that_vanished_takes_nothing_of_the_next_ones_wait():
    """A pod that runs and is gone again before that was written: the next one's start is not written at once."""
    cluster = FakeCluster()
    fresh(cluster)
    asyncio.run(settle(cluster))
    store, clock = Store(), [NOW]
    for resource in (ALIGNMENT_JOBS, JOBS):
        for obj in cluster.of(resource.kind):
            store.put(resource, obj)
    reconciler = Reconciler(store, cluster, Settings(), lambda: "CA", lambda key: None, lambda: clock[0])  # type: ignore[arg-type]
    running = {"name": "trainer", "state": {"running": {"startedAt": _stamp(NOW)}}}

    def look(seconds: float, name: str, *, there: bool) -> tuple[float | None, int]:
        """So many seconds from now, with or without that pod: when to look again, and status writes until then."""
        clock[0] = NOW + timedelta(seconds=seconds)
        pod_of(cluster, name, phase="Running", containerStatuses=[running])
        pod = cluster.objects.pop(("Pod", "team", name))
        (store.put if there else store.drop)(PODS, pod)
        again = asyncio.run(reconciler.reconcile(KEY))
        return again, cluster.calls.count("patch AlignmentJob demo status")

    before = cluster.calls.count("patch AlignmentJob demo status")
    assert look(0, "demo-r1-0-a", there=True) == (PASSING_SECONDS, before)
    assert look(1, "demo-r1-0-a", there=False) == (None, before)
    assert look(60, "demo-r1-0-b", there=True) == (PASSING_SECONDS, before)
    assert look(60 + PASSING_SECONDS, "demo-r1-0-b", there=True)[1] == before + 1


@pytest.mark.parametrize(
    ("spec", "mode", "reason", "word"),
    [
        ({"nodes": 0}, "ReadWriteMany", "InvalidSpec", "spec.nodes"),
        ({"dpo": {"beta": -1}}, "ReadWriteMany", "InvalidSpec", "spec.dpo.beta"),
        (
            {"model": {"modelNameOrPath": "m", "loadIn4bit": True, "loadIn8bit": True}},
            "ReadWriteMany",
            "InvalidSpec",
            "exclude each other",
        ),
        ({}, "ReadWriteOnce", "VolumeNotShared", "ReadWriteMany"),
        ({}, None, "VolumeNotFound", "does not exist"),
    ],
    ids=["bound", "bound-of-trl", "rule", "claim-of-one-node", "no-claim"],
)
def test_what_cannot_start_is_told_and_gets_no_job(spec, mode, reason, word):
    """An object may predate a bound or a rule; what a claim can do is in no spec."""
    cluster = FakeCluster()
    cluster.put(alignment_job(**spec))
    if mode:
        cluster.put(claim(mode))
    asyncio.run(settle(cluster))
    status = cluster.of("AlignmentJob")[0]["status"]
    (accepted,) = [c for c in status["conditions"] if c["type"] == "Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert word in accepted["message"]
    assert not cluster.of("Job")
    assert "jobName" not in status
    before = len(cluster.calls)
    asyncio.run(settle(cluster))
    assert not [call for call in cluster.calls[before:] if not call.startswith("get ")]


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}, {"a": {"b": 2}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({}, {"a": None}, {}),
    ],
)
def test_merge_diff_is_the_smallest_merge_patch(old, new, patch):
    assert merge_diff(old, new) == patch


def picture(cluster: FakeCluster) -> str:
    """Everything but events, UIDs and versions, which differ from life to life."""
    objects = sorted((key, obj) for key, obj in cluster.objects.items() if key[0] != "Event")
    uids = {obj["metadata"]["uid"]: f"uid of {key[0]} {key[2]}" for key, obj in objects}
    text = json.dumps(
        [{**obj, "metadata": obj["metadata"] | {"resourceVersion": ""}} for _, obj in objects], sort_keys=True
    )
    return list(itertools.accumulate(uids, lambda t, uid: t.replace(uid, uids[uid]), initial=text))[-1]
