"""The proxy does to requests what it was told, and nothing else."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from alignment_operator.certificates import Bundle, renewed
from tests.chaos.proxy import HOST, Proxy, Weather, _server_context


class Upstream:
    """An API server that remembers what reached it, and whose watch says a line whenever `lines` has one."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str]] = []
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        self.seen.append((request.method, request.raw_path, authorization, await request.text()))
        if request.query.get("watch") != "true":
            return web.json_response({"kind": "Echo"}, status=201 if request.method == "POST" else 200)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write((await self.lines.get()).encode())


class World:
    """Upstream, proxy and a client of it."""

    def __init__(self, upstream: Upstream, proxy: Proxy, session: aiohttp.ClientSession) -> None:
        self.upstream, self.proxy, self.session = upstream, proxy, session

    async def get(self, path: str = "/api") -> int:
        async with self.session.get(self.proxy.url + path) as answer:
            await answer.read()
            return answer.status

    async def watch(self) -> aiohttp.ClientResponse:
        """Open, with its first line read."""
        await self.upstream.lines.put("first\n")
        answer = await self.session.get(self.proxy.url + "/jobs?watch=true")
        assert await answer.content.readline() == b"first\n"
        return answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    upstream, bundle = Upstream(), renewed(Bundle(), HOST, datetime.now(UTC))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    context = _server_context(bundle, tmp_path / "upstream")
    await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    url = f"https://{HOST}:{runner.addresses[0][1]}"
    proxy = Proxy(url, tmp_path / "upstream" / "proxy-ca.crt", random.Random(1))
    trusted = ssl.create_default_context(cafile=str(await proxy.start(tmp_path / "proxy")))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
        yield World(upstream, proxy, session)
    await proxy.close()
    await runner.cleanup()


async def test_a_request_goes_through_as_it_is(world: World) -> None:
    headers = {"Authorization": "Bearer mine"}
    path = "/apis/x/namespaces/a/jobs?labelSelector=a%2Fb&limit=1"
    async with world.session.post(URL(world.proxy.url + path, encoded=True), data="body", headers=headers) as answer:
        assert (answer.status, await answer.json()) == (201, {"kind": "Echo"})
    assert world.upstream.seen == [("POST", path, "Bearer mine", "body")]


@pytest.mark.parametrize(("status", "reason"), [(429, "TooManyRequests"), (500, "InternalError")])
async def test_a_refused_request_reaches_nobody_and_reads_as_kubernetes_says_it(
    world: World, status: int, reason: str
) -> None:
    world.proxy.weather.refuse[status] = 1.0
    async with world.session.get(world.proxy.url + "/api") as answer:
        said = json.loads(await answer.text())
    assert (answer.status, said["kind"], said["reason"]) == (status, "Status", reason)
    assert ("Retry-After" in answer.headers) == (status == 429)
    assert world.upstream.seen == []
    world.proxy.weather = Weather.fair()
    assert await world.get() == 200


async def test_a_share_of_the_requests_is_refused(world: World) -> None:
    world.proxy.weather.refuse[500] = 0.5
    answers = [await world.get() for _ in range(60)]
    assert 15 < answers.count(500) < 45
    assert world.proxy.refused == answers.count(500)


async def test_a_lost_answer_is_of_a_request_that_was_carried_out(world: World) -> None:
    world.proxy.weather.lose = 1.0
    with pytest.raises(aiohttp.ClientError):
        await world.session.post(world.proxy.url + "/jobs", data="body")
    assert ("POST", "/jobs", "", "body") in world.upstream.seen
    assert world.proxy.lost >= 1


async def test_a_partition_lets_nothing_through(world: World) -> None:
    watch = await world.watch()
    world.proxy.weather.partition = True
    world.proxy.cut_watches()
    seen = len(world.upstream.seen)
    with pytest.raises(aiohttp.ClientError):
        await watch.content.readline()
    with pytest.raises(aiohttp.ClientError):
        await world.get()
    assert len(world.upstream.seen) == seen


async def test_an_answer_that_is_slow_comes(world: World) -> None:
    world.proxy.weather.wait = 0.3
    begun = asyncio.get_running_loop().time()
    assert await world.get() == 200
    assert asyncio.get_running_loop().time() - begun >= 0.3


async def test_a_frozen_watch_stays_open_and_loses_nothing(world: World) -> None:
    watch = await world.watch()
    world.proxy.weather.freeze = True
    await world.upstream.lines.put("second\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reading := asyncio.ensure_future(watch.content.readline())), 0.4)
    world.proxy.weather.freeze = False
    assert await asyncio.wait_for(reading, 5) == b"second\n"


async def test_a_watch_that_is_cut_in_a_line_ends_as_if_all_were_well(world: World) -> None:
    watch = await world.watch()
    world.proxy.cut_watches(halves=1.0)
    await world.upstream.lines.put('{"whole": 1}\n')
    rest = await watch.content.read()
    assert b'{"whole": 1}\n'.startswith(rest)
    assert 0 < len(rest) < 13


async def test_without_the_upstream_the_connection_is_reset(world: World) -> None:
    world.proxy._upstream = "https://127.0.0.1:1"
    with pytest.raises(aiohttp.ClientError):
        await world.get()
