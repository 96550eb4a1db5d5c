"""The Lease on a real API server: who leads, until when, and that nobody writes who does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from alignment_operator.cluster import Cluster
from alignment_operator.leader import Lease, LeaseLost
from alignment_operator.resources import CONFIG_MAPS, LEASES

SECONDS = 1.5


@pytest.fixture
def candidate(cluster: Cluster, namespace: str) -> Callable[[str], Lease]:
    return lambda identity: Lease(cluster, namespace, "lease", identity, SECONDS)


async def test_a_leader_that_renews_stays_one(candidate: Callable[[str], Lease]) -> None:
    lease = candidate("one")
    await lease.acquire()
    holding = asyncio.create_task(lease.hold())
    for _ in range(30):
        await asyncio.sleep(0.1)
        lease.check()
    assert not holding.done()
    holding.cancel()


async def test_a_leader_whose_lease_was_deleted_makes_it_again(
    candidate: Callable[[str], Lease], cluster: Cluster, namespace: str
) -> None:
    lease = candidate("one")
    await lease.acquire()
    holding = asyncio.create_task(lease.hold())
    await asyncio.sleep(SECONDS / 2)
    made = await cluster.get(LEASES, namespace, "lease")
    assert made
    await cluster.delete(LEASES, namespace, "lease", made["metadata"]["uid"])
    await asyncio.sleep(SECONDS)
    again = await cluster.get(LEASES, namespace, "lease")
    assert again is not None
    assert (again["spec"]["holderIdentity"], lease.held, holding.done()) == ("one", True, False)
    holding.cancel()


async def test_a_leader_that_slept_knows_that_it_may_have_a_successor_before_there_can_be_one(
    candidate: Callable[[str], Lease],
) -> None:
    """Asleep: nothing renews. It gives up after two thirds of the Lease's life; the other waits for all of it."""
    first, second = candidate("one"), candidate("two")
    await first.acquire()
    taking = asyncio.create_task(second.acquire())
    await asyncio.sleep(SECONDS * 2 / 3 + 0.05)
    assert not taking.done()
    with pytest.raises(LeaseLost):
        first.check()
    await asyncio.wait_for(taking, 5)
    second.check()


async def test_a_leader_whose_lease_was_taken_says_so_at_its_next_renewal(
    candidate: Callable[[str], Lease], cluster: Cluster, namespace: str
) -> None:
    lease = candidate("one")
    await lease.acquire()
    stolen = {"spec": {"holderIdentity": "two", "leaseDurationSeconds": 600}}
    await cluster.patch(LEASES, namespace, "lease", stolen)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(lease.hold(), SECONDS / 2)


async def test_without_the_lease_the_leaders_connection_reads_and_does_not_write(
    candidate: Callable[[str], Lease], cluster: Cluster, namespace: str
) -> None:
    lease = candidate("one")
    writer = cluster.guarded(lease.check)
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "mine"}}
    with pytest.raises(LeaseLost):
        await writer.create(CONFIG_MAPS, manifest)
    await lease.acquire()
    made = await writer.create(CONFIG_MAPS, manifest)
    await lease.release()
    calls = (
        writer.create(CONFIG_MAPS, manifest),
        writer.patch(CONFIG_MAPS, namespace, "mine", {"data": {"a": "b"}}),
        writer.replace(CONFIG_MAPS, made),
        writer.delete(CONFIG_MAPS, namespace, "mine", made["metadata"]["uid"]),
    )
    for call in calls:
        with pytest.raises(LeaseLost):
            await call
    found = await writer.get(CONFIG_MAPS, namespace, "mine")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
