"""Objects as earlier releases stored them: this release serves them, takes them up, and does not write needlessly."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.cluster import Cluster
from alignment_operator.resources import ALIGNMENT_JOBS, JOBS
from alignment_operator.store import Key
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator, condition
from tests.integration.stored import FOLDER, NAMESPACE, Etcd

Json = dict[str, Any]
RELEASES = sorted(FOLDER.glob("v*.json"))
LEADS = "leader_election_master_status"
QUIET_SECONDS = 4.0


class Stored:
    """What lies in the namespace now."""

    def __init__(self, cluster: Cluster, objects: dict[str, Json]) -> None:
        self._cluster = cluster
        self.then = {obj["metadata"]["name"]: obj for key, obj in objects.items() if "/alignmentjobs/" in key}

    async def now(self) -> dict[str, Json]:
        pages = [page async for page in self._cluster.pages(ALIGNMENT_JOBS, NAMESPACE)]
        return {item["metadata"]["name"]: item for page in pages for item in page["items"]}

    async def versions(self) -> dict[str, str]:
        return {name: obj["metadata"]["resourceVersion"] for name, obj in (await self.now()).items()}

    async def children(self) -> set[Key]:
        pages = [page async for page in self._cluster.pages(JOBS, NAMESPACE)]
        found = (item["metadata"] for page in pages for item in page["items"])
        return {Key(meta["uid"], meta["resourceVersion"]) for meta in found}

    async def quiet(self) -> dict[str, str]:
        """The resourceVersions, once none has moved for a while."""
        seen, since = await self.versions(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            await asyncio.sleep(0.2)
            now = await self.versions()
            if now != seen:
                seen, since = now, time.monotonic()
        return seen


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
def stored(request: pytest.FixtureRequest, apiserver: ApiServer, cluster: Cluster) -> Stored:
    """Everything that the release left, put under the API server, as an upgrade finds it."""
    path: Path = request.param
    objects: dict[str, Json] = json.loads(path.read_text())
    apiserver.kubectl("create", "namespace", NAMESPACE)
    for key, obj in objects.items():
        Etcd(apiserver.etcd).put(key, json.dumps(obj))
    return Stored(cluster, objects)


@pytest.fixture
def present(stored: Stored, new_operator: Callable[..., Operator]) -> Operator:
    one = new_operator()
    one.namespace = NAMESPACE
    return one.start()


async def leading(one: Operator) -> None:
    while await asyncio.to_thread(one.metric, LEADS) != 1:
        await asyncio.sleep(0.1)


async def test_objects_of_earlier_releases_are_served_taken_up_and_left_alone(
    stored: Stored, present: Operator, apiserver: ApiServer
) -> None:
    before, children = await stored.now(), await stored.children()
    assert {name: obj["spec"] for name, obj in before.items()} == {n: obj["spec"] for n, obj in stored.then.items()}
    assert {name: obj["status"] for name, obj in before.items()} == {n: obj["status"] for n, obj in stored.then.items()}
    await leading(present)
    settled = await stored.quiet()
    after = await stored.now()
    for name, obj in after.items():
        assert obj["status"]["phase"] == before[name]["status"]["phase"], name
        assert condition(obj, "Accepted") == condition(before[name], "Accepted"), name
        over = any(condition(obj, kind).get("status") == "True" for kind in ("Complete", "Failed"))
        assert not over or settled[name] == before[name]["metadata"]["resourceVersion"], f"{name} was written again"
    assert await stored.children() == children
    present.end()
    present.start()
    await leading(present)
    assert await stored.quiet() == settled, "a second start has nothing more to write"
