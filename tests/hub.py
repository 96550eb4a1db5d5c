"""A model hub on this machine, for what cannot be had without a network: gated, missing, pinned and down.

Speaks the part of the Hugging Face Hub protocol that `huggingface_hub` 2.x uses to read: repository info by revision,
the tree, `paths-info`, and `resolve/REVISION/FILE` with `X-Repo-Commit`, `ETag` and `X-Error-Code` (RepoNotFound,
RevisionNotFound, EntryNotFound, GatedRepo), as documented at "Hub API Endpoints" and in `huggingface_hub.errors`.
Uploads are taken by `tests/hub_uploads.py`. Everything else of the client is the real client; point it here with
`HF_ENDPOINT`.

    with Hub({"org/model": Repository(folder)}) as hub:
        subprocess.run(..., env={"HF_ENDPOINT": hub.url, "HF_HOME": fresh_folder})
"""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.hub_uploads import HubError, Uploads


@dataclass
class Repository:
    """One repository: a folder per revision. `token`: the only one that may read it (gated); None is public."""

    folder: Path
    kind: str = "model"
    token: str | None = None
    revisions: dict[str, Path] = field(default_factory=dict)

    def at(self, revision: str) -> Path | None:
        """The folder of a revision: a branch name or the commit hash that stands for it."""
        known = {"main": self.folder, **self.revisions}
        known |= {commit_of(folder): folder for folder in known.values()}
        return known.get(revision)


def commit_of(folder: Path) -> str:
    """A 40-digit commit hash that changes with the files of the folder."""
    digest = hashlib.sha1()
    for path in _files(folder):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


class Hub:
    """The server; `requests` lists (method, path) in the order of arrival. `down` answers every request with 503.

    `root`, `writers`, `readers`: for uploads, see Uploads. `address`: one of this machine, where it listens. `tls`: it
    speaks https with that certificate.
    """

    def __init__(
        self,
        repositories: dict[str, Repository],
        down: bool = False,
        root: Path | None = None,
        writers: Mapping[str, str] | None = None,
        readers: frozenset[str] = frozenset(),
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.repositories, self.down = repositories, down
        self.requests: list[tuple[str, str]] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server((address, 0), handler)
        if tls:
            # the handshake is the handler's: one that fails must not end the server
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://{address}:{self._server.server_port}"
        self.uploads = Uploads(self.url, root, writers or {}, readers)

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def find(self, kind: str, name: str, revision: str, authorization: str | None) -> tuple[Path, str]:
        """The folder and commit hash, or the error that the real hub gives."""
        repository = self.repositories.get(name)
        if name in self.uploads.created:
            self.uploads.check_visible(name, authorization)
            repository = Repository(self.uploads.folder(name))
        if repository is None or repository.kind != kind:
            # The real hub does not tell a missing repository from a private one.
            raise HubError(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Repository not found")
        if repository.token and authorization != f"Bearer {repository.token}":
            status = HTTPStatus.FORBIDDEN if authorization else HTTPStatus.UNAUTHORIZED
            raise HubError(status, "GatedRepo", f"Access to {kind} {name} is restricted.")
        folder = repository.at(revision)
        if folder is None:
            raise HubError(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
        return folder, commit_of(folder)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ssl.SSLError):  # a client that refuses our certificate is part of a test
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(head=False)

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_POST(self) -> None:
        self._answer(head=False)

    def do_PUT(self) -> None:
        self._answer(head=False)

    def log_message(self, *_: Any) -> None:
        """Silence: the test prints what matters."""

    def _answer(self, head: bool) -> None:
        self.hub.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.hub.down:
                raise HubError(HTTPStatus.SERVICE_UNAVAILABLE, "", "The hub is down for maintenance")
            self._route(urllib.parse.urlsplit(self.path), body, head)
        except HubError as error:
            self._send(
                error.status,
                json.dumps(error.body).encode(),
                head,
                {"X-Error-Code": error.code, "X-Error-Message": str(error)},
            )

    def _route(self, url: urllib.parse.SplitResult, body: bytes, head: bool) -> None:
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        taken = self.hub.uploads.answer(self.command, parts, self.headers.get("Authorization"), body)
        if taken is not None:
            self._send(HTTPStatus.OK, json.dumps(taken).encode(), head, {"Content-Type": "application/json"})
            return
        if parts[:1] == ["api"] and len(parts) >= 4 and parts[1] in ("models", "datasets"):
            self._api(parts[1][:-1], "/".join(parts[2:4]), parts[4:], body, head)
            return
        kind = "model"
        if parts[0] == "datasets":
            kind, parts = "dataset", parts[1:]
        if len(parts) >= 5 and parts[2] == "resolve":
            self._resolve(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), head)
            return
        raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", f"No such page: {url.path}")

    def _api(self, kind: str, name: str, rest: list[str], body: bytes, head: bool) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        folder, commit = self.hub.find(kind, name, revision, self.headers.get("Authorization"))
        what = rest[0] if rest else "revision"
        if what == "revision":
            siblings = [{"rfilename": str(p.relative_to(folder))} for p in _files(folder)]
            answer: Any = {
                "id": name,
                "modelId": name,
                "sha": commit,
                "private": False,
                "gated": False,
                "tags": [],
                "siblings": siblings,
                "downloads": 0,
                "likes": 0,
                "lastModified": "2026-01-01T00:00:00.000Z",
            }
        elif what == "tree":
            answer = list(_tree(folder, "/".join(rest[2:]), set()))
        elif what == "paths-info":
            answer = list(_tree(folder, "", _asked(body)))
        else:
            raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", f"No such endpoint: {what}")
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), head, {"Content-Type": "application/json"})

    def _resolve(self, kind: str, name: str, revision: str, file: str, head: bool) -> None:
        folder, commit = self.hub.find(kind, name, revision, self.headers.get("Authorization"))
        path = folder / file
        if not path.is_file():
            raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", f"{file} does not exist")
        data = path.read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        status = HTTPStatus.OK
        if span := self.headers.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            data, status = data[int(first) : int(last) + 1 if last else None], HTTPStatus.PARTIAL_CONTENT
        self._send(status, data, head, headers)

    def _send(self, status: HTTPStatus, data: bytes, head: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        if not head:
            self.wfile.write(data)


def _asked(body: bytes) -> set[str]:
    """Paths of a paths-info request, which comes as JSON or as a form."""
    try:
        return set(json.loads(body)["paths"])
    except ValueError:
        return set(urllib.parse.parse_qs(body.decode()).get("paths", []))


def _tree(folder: Path, under: str, only: set[str]) -> Iterator[dict[str, Any]]:
    for path in _files(folder):
        name = str(path.relative_to(folder))
        if (only and name not in only) or not name.startswith(under):
            continue
        yield {
            "type": "file",
            "path": name,
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        }
