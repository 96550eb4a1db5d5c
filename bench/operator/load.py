"""The users: threads that create objects over connections of their own, as fast as they are let."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]


class Refused(RuntimeError):
    """The API server did not take what the benchmark sent."""


@dataclass(frozen=True)
class Client:
    """One user's way to the API server, from a kubeconfig with a token."""

    kubeconfig: Path

    def connect(self) -> Connection:
        return Connection(self.kubeconfig)


class Connection:
    """One kept connection; not for several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        url = urlsplit(cluster["server"])
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._http = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=60)
        self._headers = {"Authorization": f"Bearer {content['users'][0]['user']['token']}"}

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Json:
        """The decoded answer. Raises Refused for any status of 300 or more."""
        self._http.request(method, path, body, {**self._headers, "Content-Type": kind})
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
        found: Json = json.loads(text)
        return found

    def close(self) -> None:
        self._http.close()


def create_all(client: Client, collection: str, manifests: Iterable[Json], threads: int) -> float:
    """POST every manifest with so many threads; returns the seconds that it took. Raises the first thread's error."""
    bodies = _Shared([json.dumps(manifest).encode() for manifest in manifests])
    failures: list[BaseException] = []

    def work() -> None:
        connection = client.connect()
        try:
            for body in bodies:
                connection.call("POST", collection, body)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    users = [threading.Thread(target=work) for _ in range(threads)]
    started = time.monotonic()
    for user in users:
        user.start()
    for user in users:
        user.join()
    if failures:
        raise failures[0]
    return time.monotonic() - started


class _Shared:
    """A list that several threads empty."""

    def __init__(self, items: list[bytes]) -> None:
        self._items, self._lock = iter(items), threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._lock:
                item = next(self._items, None)
            if item is None:
                return
            yield item
