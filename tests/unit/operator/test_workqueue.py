"""The queue between watch events and reconciles behaves as client-go's."""

import asyncio

import pytest

from alignment_operator.workqueue import URGENT_IN_A_ROW, ShutDown, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(base_delay=1, max_delay=10, clock=clock)


async def test_a_waiting_key_is_queued_once(queue):
    for _ in range(3):
        queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_keys_come_in_the_order_of_their_first_add(queue):
    for key in ("a", "b", "a", "c"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]


async def test_urgent_keys_come_first_but_leave_the_others_a_share(queue):
    urgent = [f"urgent-{number}" for number in range(URGENT_IN_A_ROW + 2)]
    for key in urgent:
        queue.add(key, urgent=True)
    for key in ("a", "b"):
        queue.add(key)
    taken = [await queue.get() for _ in range(len(urgent) + 2)]
    assert taken == [*urgent[:URGENT_IN_A_ROW], "a", *urgent[URGENT_IN_A_ROW:], "b"]


async def test_a_key_that_waits_keeps_its_place_and_is_not_queued_twice(queue):
    queue.add("a")
    queue.add("a", urgent=True)
    queue.add("b", urgent=True)
    assert [await queue.get() for _ in range(2)] == ["b", "a"]
    assert len(queue) == 0


async def test_a_key_added_urgently_while_held_comes_back_urgently(queue):
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a", urgent=True)
    queue.add("b")
    queue.done("a")
    assert await queue.get() == "a"


async def test_the_longest_wait_is_that_of_any_key(queue, clock):
    assert queue.oldest_wait == 0
    queue.add("a")
    clock.now = 2
    queue.add("b", urgent=True)
    assert queue.oldest_wait == 2
    clock.now = 3
    assert [await queue.get() for _ in range(2)] == ["b", "a"]
    queue.add("c", urgent=True)
    clock.now = 4
    assert queue.oldest_wait == 1


async def test_a_key_added_while_held_comes_again_after_done_and_not_before(queue):
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_key_not_added_while_held_does_not_come_again(queue):
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert len(queue) == 0


async def test_a_delayed_key_comes_when_it_is_due(queue, clock):
    queue.add_after("a", 5)
    clock.now = 4.9
    assert queue._move_due() == 5
    assert len(queue) == 0
    clock.now = 5
    assert await queue.get() == "a"


async def test_of_two_delayed_adds_only_the_earlier_counts(queue, clock):
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 8)
    clock.now = 2
    assert await queue.get() == "a"
    queue.done("a")
    clock.now = 9
    assert queue._move_due() is None
    assert len(queue) == 0


async def test_failures_back_off_up_to_the_cap_and_success_resets(queue):
    assert [queue.add_failed("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    queue.forget("a")
    assert queue.add_failed("a") == 1
    assert queue.add_failed("b") == 1


async def test_a_change_overtakes_the_back_off(queue):
    queue.add_failed("a")
    queue.add("a")
    assert await queue.get() == "a"


async def test_a_waiting_worker_wakes_for_a_new_and_for_a_due_key():
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 1) == "a"
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("b", 0.02)
    assert await asyncio.wait_for(waiting, 1) == "b"


async def test_shut_down_ends_waiting_workers_and_drops_the_rest(queue):
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    queue.add("a")
    with pytest.raises(ShutDown):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(ShutDown):
        await queue.get()


async def test_many_workers_never_hold_one_key_twice_and_miss_no_change():
    queue: WorkQueue[int] = WorkQueue()
    holding: set[int] = set()
    seen = dict.fromkeys(range(20), 0)
    version = dict.fromkeys(range(20), 0)

    async def worker() -> None:
        while True:
            try:
                key = await queue.get()
            except ShutDown:
                return
            assert key not in holding
            holding.add(key)
            now = version[key]
            await asyncio.sleep(0.001)
            seen[key] = now
            holding.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(8)]
    for step in range(600):
        version[step % 20] += 1
        queue.add(step % 20)
        if step % 50 == 0:
            await asyncio.sleep(0.001)
    while len(queue) or queue.held:
        await asyncio.sleep(0.005)
    queue.shut_down()
    await asyncio.gather(*workers)
    assert seen == version
