"""So many connections are served at a time and no more, with TLS, on the event loop that the operator uses too."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from alignment_operator import listener
from alignment_operator.certificates import Bundle, renewed
from alignment_operator.listener import BoundedSite

HOST, MOST, IDLE_SECONDS = "127.0.0.1", 3, 1.0
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]
Play = Callable[[Callable[[Connect, int], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """`play(scene)`: runs `scene(connect, port)` beside a server that answers every request."""
    bundle = renewed(Bundle(), HOST, datetime.now(UTC))
    files = {name: tmp_path / name for name in ("ca_crt", "tls_crt", "tls_key")}
    for name, file in files.items():
        file.write_text(getattr(bundle, name))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["tls_crt"], files["tls_key"])
    trusting = ssl.create_default_context(cafile=str(files["ca_crt"]))

    async def run(scene: Callable[[Connect, int], Coroutine[Any, Any, None]]) -> None:
        async with served(context) as port:
            await scene(lambda: asyncio.open_connection(HOST, port, ssl=trusting), port)

    def play(scene: Callable[[Connect, int], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(run(scene))

    return play


@asynccontextmanager
async def served(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="answered")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=1)
    await runner.setup()
    site = BoundedSite(runner, HOST, 0, ssl_context=context, connections=MOST)
    await site.start()
    try:
        yield site.port
    finally:
        await runner.cleanup()


async def ask(connection: Connection) -> bytes:
    reader, writer = connection
    writer.write(REQUEST)
    return await asyncio.wait_for(reader.readuntil(b"answered"), 5)


async def soon(connecting: asyncio.Future[Connection]) -> Connection:
    return await asyncio.wait_for(connecting, 10)


def test_one_more_waits_while_the_others_are_answered_and_is_served_when_one_has_gone(play: Play) -> None:
    async def scene(connect: Connect, port: int) -> None:
        first = [await connect() for _ in range(MOST)]
        another = asyncio.ensure_future(connect())
        for _ in range(3):
            assert all([(await ask(connection)).startswith(b"HTTP/1.1 200") for connection in first])
            await asyncio.sleep(0.1)
        assert not another.done()
        first[0][1].close()
        assert (await ask(await soon(another))).startswith(b"HTTP/1.1 200")

    play(scene)


def test_who_says_nothing_makes_room_in_the_end(play: Play) -> None:
    async def scene(connect: Connect, port: int) -> None:
        silent = [await connect() for _ in range(MOST)]
        for connection in silent:
            await ask(connection)  # an idle connection is one that has asked before, too
        for _ in range(2 * MOST):
            await ask(await soon(asyncio.ensure_future(connect())))

    play(scene)


def test_who_does_not_even_begin_the_handshake_makes_room_too(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.5)

    async def scene(connect: Connect, port: int) -> None:
        mute = [await asyncio.open_connection(HOST, port) for _ in range(MOST)]
        another = asyncio.ensure_future(connect())
        await asyncio.sleep(0.2)
        assert not another.done()
        assert (await ask(await soon(another))).startswith(b"HTTP/1.1 200")
        assert all([await reader.read() == b"" for reader, _ in mute])

    play(scene)


def test_a_port_that_was_ended_takes_no_more(play: Play) -> None:
    async def scene(connect: Connect, port: int) -> None:
        ports.append(port)
        await ask(await connect())

    async def knock() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, ports[0])

    ports: list[int] = []
    play(scene)
    asyncio.run(knock())
