"""Events are posted behind everything else, in their order, and none of them stops anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from alignment_operator.announcements import Event
from alignment_operator.cluster import ApiError
from alignment_operator.leader import LeaseLost
from alignment_operator.recorder import Recorder

JOB = {
    "apiVersion": "alignment-operator.io/v1alpha1",
    "kind": "AlignmentJob",
    "metadata": {"namespace": "team", "name": "demo", "uid": "u", "resourceVersion": "1"},
}


class Server:
    """Takes an event each time it is let, unless it is to answer with an error."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.at_a_time = self.most = 0
        self.open = asyncio.Event()

    async def create(self, resource: Any, manifest: dict[str, Any]) -> dict[str, Any]:
        self.at_a_time += 1
        self.most = max(self.most, self.at_a_time)
        await self.open.wait()
        self.at_a_time -= 1
        if error := self.errors.get(manifest["reason"]):
            raise error
        self.taken.append(manifest["reason"])
        return manifest


@asynccontextmanager
async def recording(server: Server, **more: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(server, **more)  # type: ignore[arg-type]
    task = asyncio.create_task(recorder.post())
    yield recorder
    task.cancel()
    await asyncio.wait([task])


def happened(*reasons: str) -> list[Event]:
    return [Event("Normal", reason, "It happened.") for reason in reasons]


async def test_nobody_waits_for_an_event_and_they_come_one_by_one_in_their_order() -> None:
    server = Server()
    async with recording(server) as recorder:
        await recorder.note(JOB, happened("A", "B"))
        await recorder.note(JOB, happened("C"))
        assert server.taken == []
        server.open.set()
        await recorder.drained()
    assert server.taken == ["A", "B", "C"]
    assert server.most == 1


async def test_of_what_would_fill_the_memory_the_oldest_is_lost_and_nobody_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An API server that takes no events must not keep jobs from starting."""
    server = Server()
    async with recording(server, limit=2) as recorder:
        await recorder.note(JOB, happened("A"))
        await asyncio.sleep(0.01)  # A is being posted
        for reason in "BCDE":
            await asyncio.wait_for(recorder.note(JOB, happened(reason)), 1)
        server.open.set()
        await recorder.drained()
    assert server.taken == ["A", "D", "E"]
    assert [record.lost for record in caplog.records if record.message == "events lost"] == [2]  # type: ignore[attr-defined]


async def test_the_more_wait_the_more_are_posted_at_a_time() -> None:
    server = Server()
    async with recording(server, one_more=10) as recorder:
        await recorder.note(JOB, happened(*(f"Reason{number}" for number in range(25))))
        await asyncio.sleep(0.01)
        assert server.at_a_time == 3
        server.open.set()
        await recorder.drained()
    assert server.most == 3
    assert set(server.taken) == {f"Reason{number}" for number in range(25)}


@pytest.mark.parametrize(
    "error", [ApiError(403, "Forbidden", "quota"), TimeoutError(), ValueError("no JSON")], ids=repr
)
async def test_an_event_that_is_refused_is_lost_and_the_next_is_posted(error: Exception) -> None:
    server = Server()
    server.open.set()
    server.errors["A"] = error
    async with recording(server) as recorder:
        await recorder.note(JOB, happened("A", "B"))
        await recorder.drained()
    assert server.taken == ["B"]


async def test_a_lost_lease_ends_it() -> None:
    server = Server()
    server.open.set()
    server.errors["A"] = LeaseLost("not renewed")
    recorder = Recorder(server)  # type: ignore[arg-type]
    await recorder.note(JOB, happened("A"))
    with pytest.raises(LeaseLost):
        await recorder.post()
