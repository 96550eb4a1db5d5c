"""A TLS proxy between one replica and the API server that does to the replica's requests what bad days do.

HTTP/1.1 on both sides; watches are passed on as they come. Credentials are the client's own: they go through untouched.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from alignment_operator.certificates import Bundle, renewed

HOST = "127.0.0.1"
MAX_BODY = 64 << 20
# Of one connection, or of the body as it was sent to us: never passed on.
HOP_BY_HOP = frozenset(("connection", "content-length", "host", "keep-alive", "transfer-encoding"))
REASONS = {429: "TooManyRequests", 500: "InternalError"}


@dataclass
class Weather:
    """What now happens to requests. `share`s are of requests, from 0 to 1."""

    refuse: dict[int, float]  # HTTP status -> share that gets it as the answer, and never reaches the API server
    lose: float = 0.0  # share that is carried out, and whose answer is lost
    wait: float = 0.0  # seconds before a request is passed on
    partition: bool = False  # nothing gets through, and what was open is cut
    freeze: bool = False  # watches stay open and say nothing

    @classmethod
    def fair(cls) -> Weather:
        return cls({})


class Stream:
    """An open watch: `cut` ends it, at once or (`halved`) properly, but in the middle of its next line."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.halved = False

    def cut(self, *, halved: bool) -> None:
        self.halved = halved
        if not halved:
            _abort(self._request)


class Proxy:
    """Listens on a free port of the loopback device from `start` to `close`; `weather` may change at any time."""

    def __init__(self, upstream: str, authority: Path, chance: random.Random) -> None:
        self._upstream, self._authority, self._chance = upstream, authority, chance
        self._bundle = renewed(Bundle(), HOST, datetime.now(UTC))
        self._streams: set[Stream] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.weather = Weather.fair()
        self.url = ""
        self.refused = self.lost = self.cut = 0  # how often

    async def start(self, folder: Path) -> Path:
        """Serve; returns the path of the certificate to trust. `folder` gets certificate and key."""
        context = _server_context(self._bundle, folder)
        upstream = ssl.create_default_context(cafile=str(self._authority))
        connector = aiohttp.TCPConnector(ssl=upstream, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0, ssl_context=context)
        await site.start()
        self.url = f"https://{HOST}:{self._runner.addresses[0][1]}"
        return folder / "proxy-ca.crt"

    async def close(self) -> None:
        if self._runner:
            self.cut_watches()
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    def cut_watches(self, halves: float = 0.0) -> None:
        """End every open watch, a share of them in the middle of a line."""
        for stream in tuple(self._streams):
            self.cut += 1
            stream.cut(halved=self._chance.random() < halves)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        weather = self.weather
        if weather.partition:
            return _abort(request)
        for status, share in weather.refuse.items():
            if self._chance.random() < share:
                self.refused += 1
                return _refusal(status)
        if weather.wait:
            await asyncio.sleep(weather.wait)
        try:
            return await self._forward(request)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return _abort(request)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        body = await request.read()
        url = URL(self._upstream + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            if request.query.get("watch") == "true" and answer.status == 200:
                return await self._pass_on(request, answer, passed)
            content = await answer.read()
        if self._chance.random() < self.weather.lose or self.weather.partition:
            self.lost += 1
            return _abort(request)
        return web.Response(status=answer.status, body=content, headers=passed)

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        stream = Stream(request)
        self._streams.add(stream)
        response = web.StreamResponse(status=answer.status, headers=headers)
        try:
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                while self.weather.freeze and not self.weather.partition:
                    await asyncio.sleep(0.1)
                if stream.halved:
                    await response.write(piece[: len(piece) // 2])
                    break
                await response.write(piece)
        finally:
            self._streams.discard(stream)
        with suppress(ConnectionError):
            await response.write_eof()
        return response


def _abort(request: web.Request) -> web.StreamResponse:
    """Reset the connection; the answer goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(status: int) -> web.Response:
    """As the API server says it."""
    about: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    about |= {"reason": REASONS[status], "message": "a fault of the test"}
    headers = {"Retry-After": "1"} if status == 429 else {}
    return web.Response(status=status, text=json.dumps(about), content_type="application/json", headers=headers)


def _server_context(bundle: Bundle, folder: Path) -> ssl.SSLContext:
    folder.mkdir(parents=True, exist_ok=True)
    chain, key = folder / "proxy.crt", folder / "proxy.key"
    (folder / "proxy-ca.crt").write_text(bundle.ca_crt)
    chain.write_text(bundle.tls_crt + bundle.ca_crt)
    key.write_text(bundle.tls_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return context
