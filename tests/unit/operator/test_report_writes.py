"""When reports of progress are written: at most so often, whatever comes in meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alignment_operator.cluster import ApiError
from alignment_operator.metrics import Metrics
from alignment_operator.progress import BETWEEN_SECONDS, FLUSHED_AT_ONCE, Reports
from alignment_operator.reports import Report
from alignment_operator.resources import ALIGNMENT_JOBS, Resource
from alignment_operator.settings import ProgressSettings
from alignment_operator.store import Key, Store
from alignment_operator.workqueue import WorkQueue
from tests.unit.operator.builders import NAME, NAMESPACE, NOW, alignment_job, at

KEY = Key(NAMESPACE, NAME)


class SlowCluster:
    """Answers an apply when it is told to, as a busy API server does."""

    def __init__(self, store: Store) -> None:
        self.store, self.go_on = store, asyncio.Event()
        self.written: list[dict[str, Any]] = []
        self.rival: datetime | None = None  # when another replica has written, of which we do not know yet
        self.loses_answer = False  # it writes, and is not heard; its watch is

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """As the other replica has left it."""
        assert self.rival is not None
        theirs = {"run": 1, "phase": "Training", "lastReportTime": self.rival.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return self._changed({"progress": theirs})

    async def apply_progress(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.rival:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.written.append(manifest["status"]["progress"])
        await self.go_on.wait()
        if self.loses_answer:
            self.store.put(ALIGNMENT_JOBS, self._changed(manifest["status"]))
            raise TimeoutError
        return self._changed(manifest["status"], Key(NAMESPACE, manifest["metadata"]["name"]))

    def _changed(self, status: dict[str, Any], key: Key = KEY) -> dict[str, Any]:
        stored = self.store.job(key)
        assert stored is not None
        version = str(int(stored["metadata"]["resourceVersion"]) + 1)
        metadata = stored["metadata"] | {"resourceVersion": version}
        return {**stored, "metadata": metadata, "status": stored["status"] | status}


def report(step: int, phase: str = "Training") -> Report:
    return Report.model_validate({"trainerStatus": {}, "alignment": {"phase": phase, "step": step}})


def has_job(store: Store, name: str) -> None:
    """An AlignmentJob of that name whose first run is under way."""
    obj = alignment_job(status={"run": 1, "jobName": f"{name}-r1"}).to_object()
    obj["metadata"] |= {"name": name, "uid": name, "resourceVersion": "1"}
    store.put(ALIGNMENT_JOBS, obj)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(BETWEEN_SECONDS)


def waiting() -> tuple[Reports, SlowCluster]:
    """Reports of a run of which nothing has been written yet."""
    store = Store()
    has_job(store, NAME)
    cluster = SlowCluster(store)
    metrics = Metrics(store, WorkQueue(), 1, "lease")
    return Reports(store, cluster, ProgressSettings(), None, metrics), cluster  # type: ignore[arg-type]


@pytest.mark.parametrize(("phase", "wait"), [("Training", 15), ("Saving", 3.75)])
async def test_a_report_that_comes_while_one_is_being_written_waits_its_turn(phase: str, wait: float) -> None:
    """Two pods of a run report in the same second; the second write would change nothing."""
    reports, cluster = waiting()
    reports._accept(KEY, 1, report(1), NOW)
    writing = asyncio.create_task(reports._write_due(NOW))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(cluster.written) == 1
    reports._accept(KEY, 1, report(2, phase), NOW)
    assert reports._pending[KEY].due == NOW + timedelta(seconds=wait)
    cluster.go_on.set()
    await writing
    await reports._write_due(NOW + timedelta(seconds=wait))
    assert [progress["step"] for progress in cluster.written] == [1, 2]


@pytest.mark.parametrize(("run", "wait"), [(1, 15), (2, 0)], ids=["the-same-run", "the-next-run"])
async def test_the_interval_begins_with_the_write_not_with_the_report_in_it(run: int, wait: float) -> None:
    """Else a job that reports every 5 s would be written every 10."""
    reports, cluster = waiting()
    cluster.go_on.set()
    reports._accept(KEY, 1, report(1), NOW)
    written = NOW + timedelta(seconds=10)
    await reports._write_due(written)
    assert reports._due(KEY, run, report(2), written) == written + timedelta(seconds=wait)


async def test_what_was_written_long_ago_is_forgotten() -> None:
    reports, cluster = waiting()
    cluster.go_on.set()
    reports._accept(KEY, 1, report(1), NOW)
    await reports._write_due(NOW)
    await reports._write_due(NOW + timedelta(seconds=14))
    assert KEY in reports._written
    await reports._write_due(NOW + timedelta(seconds=16))
    assert reports._written == {}


async def test_a_report_waits_its_turn_when_another_replica_has_written_one_since_it_came() -> None:
    """Its watch tells before our write is due: there would not even be a conflict, and nothing would change."""
    reports, cluster = waiting()
    cluster.go_on.set()
    reports._accept(KEY, 1, report(1), NOW)
    theirs = {"run": 1, "phase": "Training", "lastReportTime": at(0)}
    cluster.store.put(ALIGNMENT_JOBS, cluster._changed({"progress": theirs}))
    await reports._write_due(NOW)
    assert cluster.written == []
    assert reports._pending[KEY].due == NOW + timedelta(seconds=15)
    await reports._write_due(NOW + timedelta(seconds=15))
    assert len(cluster.written) == 1


async def test_a_report_that_lost_to_another_replicas_waits_its_turn() -> None:
    reports, cluster = waiting()
    cluster.go_on.set()
    cluster.rival = datetime.now(UTC)
    reports._accept(KEY, 1, report(1), NOW)
    await reports._write_due(NOW)
    due = reports._pending[KEY].due - cluster.rival
    assert timedelta(seconds=13) < due < timedelta(seconds=16)


@pytest.mark.parametrize("metrics", [None, [{"name": "loss", "value": "0.5"}]], ids=["without-metrics", "with-metrics"])
async def test_a_report_that_was_written_is_not_written_again_because_the_answer_was_lost(metrics: Any) -> None:
    """The second write would change nothing."""
    reports, cluster = waiting()
    cluster.go_on.set()
    cluster.loses_answer = True
    body = {"trainerStatus": {"metrics": metrics}, "alignment": {"phase": "Training", "step": 1, "epoch": 0.5}}
    reports._accept(KEY, 1, Report.model_validate(body), NOW)
    await reports._write_due(NOW)
    assert KEY in reports._pending
    await reports._write_due(datetime.max.replace(tzinfo=UTC))
    assert len(cluster.written) == 1
    assert reports._pending == {}


class DeafCluster(SlowCluster):
    """Refuses every apply."""

    async def apply_progress(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        self.written.append(manifest["metadata"])
        raise ApiError(503, "ServiceUnavailable", "not now")


async def test_at_the_end_each_report_is_tried_and_none_forever() -> None:
    reports, cluster = waiting()
    reports._cluster = DeafCluster(cluster.store)  # type: ignore[assignment]
    names = [f"job-{number}" for number in range(2 * FLUSHED_AT_ONCE + 1)]
    for name in names:
        has_job(cluster.store, name)
        reports._accept(Key(NAMESPACE, name), 1, report(1), NOW)
    await reports._flush()
    tried = [meta["name"] for meta in reports._cluster.written]  # type: ignore[attr-defined]
    assert set(tried) == set(names)
    assert len(tried) < len(names) + FLUSHED_AT_ONCE


async def test_one_is_written_after_the_other_and_of_what_waits_the_newest() -> None:
    """What comes in beside several writes waits for all of them, the Lease's renewal and the trainers' reports too."""
    reports, cluster = waiting()
    _, second, third = keys = [Key(NAMESPACE, f"job-{number}") for number in range(3)]
    for number, key in enumerate(keys):
        has_job(cluster.store, key.name)
        reports._accept(key, 1, report(1), NOW + timedelta(seconds=number))
    loop = asyncio.create_task(reports.write_forever())
    await until(lambda: len(cluster.written) == 1)
    await asyncio.sleep(2 * BETWEEN_SECONDS)
    assert len(cluster.written) == 1
    assert set(reports._pending) == {second, third}, "the first has been due for longest"
    reports._accept(third, 1, report(2), NOW + timedelta(seconds=4))
    cluster.go_on.set()
    await until(lambda: len(cluster.written) == 3)
    loop.cancel()
    await asyncio.wait([loop])
    assert [(progress["step"], progress["lastReportTime"]) for progress in cluster.written] == [
        (1, at(0)),
        (1, at(1)),
        (2, at(4)),
    ]
