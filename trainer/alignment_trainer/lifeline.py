"""Between the launchers of a run's pods: who goes, says how, so that nobody waits for a pod that is gone.

Workers notice a lost peer by themselves only where they talk to it through gloo; inside an NCCL kernel they hang until
a watchdog aborts them, which looks like a failure of their own. The launchers hold TCP connections (every pod to the
one with index 0, at masterPort + 1) from the moment the process group stands. `bye` before the end is a good end; any
other end is a failed peer. Where the connection cannot be made, the workers' own errors have to do.
"""

from __future__ import annotations

import contextlib
import socket

BYE = b"bye\n"


class Lifeline:
    """One end of it. Never blocks and never raises."""

    def __init__(self, index: int, address: str, port: int) -> None:
        self.lost = False  # a peer is gone without a good end
        self._listener: socket.socket | None = None
        self._peers: dict[socket.socket, bytes] = {}  # connection -> what it said
        self._connecting: tuple[str, int] | None = None if index == 0 else (address, port)
        if index == 0:
            with contextlib.suppress(OSError):
                self._listener = socket.create_server(("", port), backlog=256)
                self._listener.setblocking(False)

    def poll(self) -> bool:
        """Look once; True as soon as a peer was lost."""
        self._connect()
        self._accept()
        for peer in list(self._peers):
            self._hear(peer)
        return self.lost

    def close(self, good: bool) -> None:
        """Tell everyone how this pod ends."""
        for peer in self._peers:
            with contextlib.suppress(OSError):
                if good:
                    peer.send(BYE)
                peer.close()
        self._peers.clear()
        if self._listener:
            self._listener.close()

    def _connect(self) -> None:
        if self._connecting is None:
            return
        address, self._connecting = self._connecting, None  # one try: the other end listens since before we joined
        with contextlib.suppress(OSError):
            self._keep(socket.create_connection(address, timeout=2))

    def _accept(self) -> None:
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            while True:
                self._keep(self._listener.accept()[0])

    def _keep(self, peer: socket.socket) -> None:
        self._peers[peer] = b""
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a lost node sends no end
        for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
            peer.setsockopt(socket.IPPROTO_TCP, option, value)

    def _hear(self, peer: socket.socket) -> None:
        try:
            said = peer.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._peers[peer] += said
            return
        self.lost = self.lost or self._peers[peer] != BYE
        del self._peers[peer]
        peer.close()
