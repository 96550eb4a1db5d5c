"""A TCP port that serves so many connections at a time; the next ones wait in the kernel's queue until one has gone.

aiohttp bounds how long a connection may do nothing, and not how many there are: each costs memory and a TLS handshake
before anybody knows who it is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress

from aiohttp import web

log = logging.getLogger(__name__)

WAITING = 1024  # connections in the kernel's queue; beyond that a client's own retries make it wait
FULL_SECONDS = 0.05  # between two looks for room
HANDSHAKE_SECONDS = 5.0
GOODBYE_SECONDS = 2.0  # for the peer's end of a TLS connection that we have ended
EXHAUSTED_SECONDS = 1.0  # no file descriptor is free


class BoundedSite(web.BaseSite):
    """As web.TCPSite, with at most `connections` of them, handshakes included. One address family: that of `host`."""

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        connections: int,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=WAITING)
        self._address, self._most = (host, port), connections
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        host, port = self._address
        return f"{'https' if self._ssl_context else 'http'}://{host}:{port}"

    @property
    def port(self) -> int:
        """The port that is listened on, once started: with 0 any that was free."""
        assert self._listener is not None
        return int(self._listener.getsockname()[1])

    async def start(self) -> None:
        """Raises OSError when the address cannot be had."""
        await super().start()
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = socket.create_server(self._address, family=family, backlog=self._backlog)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._listener), name=f"accept {self.name}")

    async def stop(self) -> None:
        tasks = [task for task in (self._accepting, *self._handshakes) if task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._listener:
            self._listener.close()
        await super().stop()

    @property
    def _is_full(self) -> bool:
        server = self._runner.server
        return len(self._handshakes) + (len(server.connections) if server else 0) >= self._most

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._is_full:
                await asyncio.sleep(FULL_SECONDS)
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("no connection can be accepted: %s", error)
                await asyncio.sleep(EXHAUSTED_SECONDS)
                continue
            task = asyncio.create_task(self._begin(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _begin(self, connection: socket.socket) -> None:
        """Hand the connection to aiohttp; who does not get through the handshake is nobody's affair."""
        server = self._runner.server
        assert server is not None
        patience = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": GOODBYE_SECONDS}
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                server, connection, ssl=self._ssl_context, **(patience if self._ssl_context else {})
            )
