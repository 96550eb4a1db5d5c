"""What pods that stay Pending cost the API server: nothing without a node, and little beside it in a crowd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alignment_operator.cluster import ApiError
from alignment_operator.companions import Companions
from alignment_operator.observed import PodEvent, PodView
from alignment_operator.podevents import ABOUT_PODS, FRESH, PodEvents
from alignment_operator.reconcile import Reconciler
from alignment_operator.resources import ALIGNMENT_JOBS, JOBS, PODS
from alignment_operator.settings import Settings
from alignment_operator.store import Key, Store
from tests.unit.operator.builders import Job, Pod, alignment_job, failed_create, not_mounted, observed
from tests.unit.operator.fake_cluster import FakeCluster

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
MINUTE = 60
SPEC: dict[str, Any] = {
    "model": {"modelNameOrPath": "/models/tiny"},
    "dataset": {"datasetName": "/data/pairs"},
    "dpo": {"beta": 0.1},
    "gpusPerNode": 0,
    "output": {"volume": {"persistentVolumeClaim": {"claimName": "out"}}},
}
CONFIG = 'MountVolume.SetUp failed for volume "alignment-config" : configmap "demo-r1" not found'


class Crowd:
    """Jobs whose only pod is as `pod` says, and an operator that looks at each of them every second."""

    def __init__(self, jobs: int, pod: Callable[[str], dict[str, Any]]) -> None:
        self.cluster, self.store, self.clock = FakeCluster(), Store(), START
        self.reconciler = Reconciler(
            self.store,
            self.cluster,  # type: ignore[arg-type]
            Settings(),
            lambda: "CA",
            lambda key: None,
            lambda: self.clock,
        )
        self.keys = [Key("team", f"job-{number}") for number in range(jobs)]
        metadata = {"namespace": "team", "name": "out"}
        self.cluster.put({"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}})
        for key in self.keys:
            meta = {"namespace": key.namespace, "name": key.name, "uid": key.name, "generation": 1}
            self.cluster.put({"apiVersion": ALIGNMENT_JOBS.api, "kind": "AlignmentJob", "metadata": meta, "spec": SPEC})
            self._look(key)
            self.cluster.put(self._pod(key, pod(key.name)))
        self.look()
        self.cluster.calls.clear()

    def become(self, status: dict[str, Any]) -> None:
        """Every pod is that now."""
        for pod in self.cluster.of("Pod"):
            self.cluster.put({**pod, "status": status})

    def _pod(self, key: Key, status: dict[str, Any]) -> dict[str, Any]:
        job = self.cluster.objects["Job", key.namespace, f"{key.name}-r1"]["metadata"]
        labels = {"alignment-operator.io/job": key.name, "alignment-operator.io/run": "1"}
        labels["batch.kubernetes.io/controller-uid"] = job["uid"]
        meta = {"namespace": key.namespace, "name": f"{key.name}-r1-0", "labels": labels, "creationTimestamp": stamp(0)}
        return {"kind": "Pod", "metadata": meta, "spec": {}, "status": status}

    def _look(self, key: Key) -> None:
        for resource in (ALIGNMENT_JOBS, JOBS, PODS):  # the watches
            for obj in self.cluster.of(resource.kind):
                self.store.put(resource, obj)
        asyncio.run(self.reconciler.reconcile(key))

    def look(self) -> None:
        for key in self.keys:
            self._look(key)

    def wait(self, seconds: int) -> list[str]:
        """Look each second, as a storm of watch events makes it; returns what was asked, writes left out."""
        for _ in range(seconds):
            self.clock += timedelta(seconds=1)
            self.look()
        return [call for call in self.cluster.calls if call.startswith(("get ", "list "))]

    def writes(self) -> list[str]:
        return [call for call in self.cluster.calls if call.startswith("patch")]


def stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_node(name: str) -> dict[str, Any]:
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [told]}


def on_node(name: str) -> dict[str, Any]:
    return {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(0)}],
    }


def test_a_pod_that_no_node_takes_raises_no_question_and_is_told_once() -> None:
    crowd = Crowd(3, without_node)
    assert crowd.wait(MINUTE) == []
    assert crowd.writes() == [f"patch AlignmentJob job-{number} status" for number in range(3)]
    reasons = [condition_of(job, "Ready") for job in crowd.cluster.of("AlignmentJob")]
    assert reasons == ["Unschedulable"] * 3


def condition_of(obj: dict[str, Any], kind: str) -> str:
    return next(c["reason"] for c in obj["status"]["conditions"] if c["type"] == kind)


def test_pods_that_have_a_node_raise_none_for_twenty_seconds_and_then_one_for_all_of_them() -> None:
    crowd = Crowd(30, on_node)
    assert crowd.wait(19) == []
    assert crowd.wait(1) == ["list Event"]
    assert set(crowd.wait(MINUTE)) == {"list Event"}
    assert len(crowd.wait(0)) <= 1 + MINUTE / FRESH.total_seconds()


def trainer(phase: str, **state: dict[str, Any]) -> dict[str, Any]:
    return {"phase": phase, "containerStatuses": [{"name": "trainer", "state": state}]}


def test_a_success_that_the_job_controller_has_not_counted_is_written_only_if_that_takes_long() -> None:
    crowd = Crowd(1, lambda name: trainer("Running", running={"startedAt": stamp(0)}))
    crowd.become(trainer("Succeeded", terminated={"exitCode": 0, "startedAt": stamp(0), "finishedAt": stamp(9)}))
    crowd.wait(20)
    assert crowd.writes() == []
    crowd.wait(MINUTE)
    assert crowd.writes() == ["patch AlignmentJob job-0 status"]
    (job,) = crowd.cluster.of("AlignmentJob")
    (ready,) = (c for c in job["status"]["conditions"] if c["type"] == "Ready")
    assert (job["status"]["phase"], ready["message"]) == (
        "Running",
        "Run 1 has completed; its pods are being counted.",
    )


class Said:
    """The part of Cluster that lists events: `events` of each namespace, or an error."""

    def __init__(self, **events: list[dict[str, Any]]) -> None:
        self.events = events
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.error: Exception | None = None

    async def pages(self, resource: Any, namespace: str, **query: str) -> Any:
        self.asked.append((namespace, query))
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        for event in self.events[namespace]:
            yield {"items": [event]}


def event(uid: str, message: str, reason: str = "FailedMount") -> dict[str, Any]:
    return {"involvedObject": {"kind": "Pod", "uid": uid}, "reason": reason, "message": message}


def pod(uid: str, namespace: str = "a") -> PodView:
    return PodView(namespace, uid, uid)


def messages(events: tuple[PodEvent, ...]) -> list[str]:
    return [each.message for each in events]


async def test_one_answer_is_for_every_pod_of_a_namespace_that_asks_meanwhile() -> None:
    said = Said(a=[event("one", "1"), event("two", "2"), event("one", "started", "Pulled")], b=[event("one", "3")])
    asked = PodEvents(said, lambda: START)  # type: ignore[arg-type]
    pods = [[pod("one")], [pod("two")], [pod("one"), pod("one", "b")]]
    told = await asyncio.gather(*map(asked.about, pods))
    assert [messages(each) for each in told] == [["1"], ["2"], ["1", "3"]]
    assert said.asked == [("a", {"fieldSelector": ABOUT_PODS}), ("b", {"fieldSelector": ABOUT_PODS})]


@pytest.mark.parametrize("error", [ApiError(503, "", "overloaded"), TimeoutError()])
async def test_what_was_said_before_holds_while_the_api_server_says_nothing(error: Exception) -> None:
    clock = [START]
    said = Said(a=[event("one", "1")])
    asked = PodEvents(said, lambda: clock[0])  # type: ignore[arg-type]
    assert messages(await asked.about([pod("one")])) == ["1"]
    said.error = error
    clock[0] += FRESH
    assert messages(await asked.about([pod("one")])) == ["1"]
    clock[0] += timedelta(hours=1)
    assert messages(await asked.about([pod("one")])) == []
    assert len(said.asked) == 3


async def test_a_clock_that_is_set_back_makes_no_answer_last() -> None:
    clock = [START]
    said = Said(a=[])
    asked = PodEvents(said, lambda: clock[0])  # type: ignore[arg-type]
    await asked.about([pod("one")])
    clock[0] -= timedelta(hours=1)
    await asked.about([pod("one")])
    assert len(said.asked) == 2


class Shelf:
    """The part of Cluster that gets. `there`: whether it has everything."""

    def __init__(self) -> None:
        self.there, self.asked = True, 0

    async def get(self, resource: Any, namespace: str, name: str) -> dict[str, Any] | None:
        self.asked += 1
        return {} if self.there else None


KEY, ALONE, SEVERAL = Key("team-a", "demo"), alignment_job(), alignment_job(nodes=2)
WAITS, AGAIN = Pod().scheduled(-60), Pod(attempt="b").scheduled(-60)


@pytest.mark.parametrize(
    ("job", "seen"),
    [
        pytest.param(ALONE, observed(Job(), WAITS), id="nothing-is-said"),
        pytest.param(ALONE, observed(Job(), WAITS, pod_events=(not_mounted('secret "keys" not found'),)), id="other"),
        pytest.param(ALONE, observed(Job(), WAITS, pod_events=(not_mounted(CONFIG, pod=AGAIN),)), id="another-pod"),
        pytest.param(ALONE, observed(Job(), Pod().unschedulable()), id="no-node-takes-it"),
        pytest.param(SEVERAL, observed(Job(), WAITS, Pod(1)), id="several-nodes-begin"),
        pytest.param(ALONE, observed(Job(), Pod().exited(1), AGAIN), id="alone-again"),
        pytest.param(ALONE, observed(Job(), events=(failed_create("exceeded quota"),)), id="pods-are-refused"),
        pytest.param(SEVERAL, observed(Job().failed("BackoffLimitExceeded"), Pod().exited(1)), id="over"),
        pytest.param(SEVERAL, observed(None, Pod().exited(1)), id="no-job"),
    ],
)
async def test_without_a_reason_to_doubt_nobody_asks_for_the_config_map(job: Any, seen: Any) -> None:
    shelf = Shelf()
    assert not await Companions(shelf).lacking(KEY, job, seen)  # type: ignore[arg-type]
    assert not shelf.asked


@pytest.mark.parametrize(
    ("job", "seen", "more", "calls"),
    [
        pytest.param(
            ALONE,
            observed(Job(), WAITS, pod_events=(not_mounted(CONFIG, seconds=-20),)),
            observed(Job(), WAITS, pod_events=(not_mounted(CONFIG, seconds=-5),)),
            1,
            id="the-kubelet-misses-it",
        ),
        pytest.param(
            SEVERAL,
            observed(Job(), Pod().exited(1), AGAIN),
            observed(Job(), Pod().exited(1), Pod(attempt="b").exited(1), Pod(attempt="c")),
            2,
            id="several-nodes-begin-again",
        ),
    ],
)
async def test_a_reason_to_doubt_is_worth_one_question_and_a_new_one_another(
    job: Any, seen: Any, more: Any, calls: int
) -> None:
    shelf = Shelf()
    companions = Companions(shelf)  # type: ignore[arg-type]
    for _ in range(60):
        assert not await companions.lacking(KEY, job, seen)
    assert shelf.asked == calls
    assert not await companions.lacking(KEY, job, more)
    assert shelf.asked == 2 * calls
    companions.forget(KEY)
    assert not await companions.lacking(KEY, job, more)
    assert shelf.asked == 3 * calls


async def test_what_is_gone_is_told_until_it_is_there() -> None:
    """To make it may fail, and is tried again."""
    shelf = Shelf()
    companions = Companions(shelf)  # type: ignore[arg-type]
    seen = observed(Job(), WAITS, pod_events=(not_mounted(CONFIG),))
    shelf.there = False
    assert await companions.lacking(KEY, ALONE, seen)
    assert await companions.lacking(KEY, ALONE, seen)
    shelf.there = True
    assert not await companions.lacking(KEY, ALONE, seen)
