"""The side of the model hub that takes uploads: what `HfApi.create_repo` and `HfApi.upload_folder` call.

A commit is one request of JSON lines. Small text files travel in it; what git would keep in large file storage goes
there first, by Xet (`hf_xet`, the default of huggingface_hub 2.x) or by Git LFS (`HF_HUB_DISABLE_XET=1`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.xet import XetStore

Json = dict[str, Any]
LARGE = (".safetensors", ".bin", ".pt", ".model")  # of the hub's default .gitattributes
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.S)


class HubError(Exception):
    """What the hub answers in place of success. `code`: its X-Error-Code; `body`: more than the message."""

    def __init__(self, status: HTTPStatus, code: str, message: str, body: Json | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.body = status, code, {"error": message, **(body or {})}


@dataclass
class Uploads:
    """Where uploads go. `writers`: namespace -> the token that may create and write repositories in it.

    `readers`: tokens that are valid and may write nothing. `created`: name of a new repository -> whether it is
    private. `objects`: what came by LFS, by sha256; `xet`: what came by Xet, None for a hub that has no Xet.
    """

    url: str
    root: Path | None = None
    writers: Mapping[str, str] = field(default_factory=dict)
    readers: frozenset[str] = frozenset()
    created: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    xet: XetStore | None = field(default_factory=XetStore)

    def folder(self, name: str) -> Path:
        """Of a repository that was created here."""
        assert self.root is not None, "a hub that takes uploads needs a root"
        return self.root / name

    def check_visible(self, repository: str, authorization: str | None) -> None:
        """Raises HubError for a repository that does not exist, or is private and not this token's to see."""
        known = {f"Bearer {token}" for token in (*self.writers.values(), *self.readers)}
        if repository not in self.created or (self.created[repository] and authorization not in known):
            raise HubError(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Repository not found")

    def answer(self, method: str, parts: list[str], authorization: str | None, body: bytes) -> Json | None:
        """The answer to a request that writes; None where the request is none. Raises HubError."""
        match method, parts:
            case "POST", ["api", "repos", "create"]:
                return self._create(json.loads(body), authorization)
            case "POST", ["api", "validate-yaml"]:
                return self._check_card(json.loads(body)["content"])
            case "POST", ["api", "models", owner, name, "preupload", _]:
                self._may_write(f"{owner}/{name}", authorization)
                return {"files": [self._mode(f"{owner}/{name}", file) for file in json.loads(body)["files"]]}
            case "POST", ["api", "models", owner, name, "commit", _]:
                self._may_write(f"{owner}/{name}", authorization)
                return self._commit(f"{owner}/{name}", [json.loads(line) for line in body.splitlines()])
            case "GET", ["api", "models", owner, name, "xet-write-token", _] if self.xet:
                self._may_write(f"{owner}/{name}", authorization)
                return {"casUrl": self.url, "accessToken": "cas", "exp": int(time.time()) + 3600}
            case "POST", [owner, repository, "info", "lfs", "objects", "batch"]:
                self._may_write(f"{owner}/{repository.removesuffix('.git')}", authorization)
                return self._lfs_batch(json.loads(body))
        return self._store(method, parts, body)

    def _store(self, method: str, parts: list[str], body: bytes) -> Json | None:
        """Large file storage. The links to it are signed: they carry no token of the user."""
        match method, parts:
            case "PUT", ["lfs", oid]:
                if hashlib.sha256(body).hexdigest() != oid:
                    raise HubError(HTTPStatus.BAD_REQUEST, "", "Checksum does not match")
                self.objects[oid] = body
                return {}
            case "POST", ["lfs", oid, "verify"]:
                if oid not in self.objects:
                    raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", "No such object")
                return {}
            case "POST", ["v1", "xorbs", "default", name] if self.xet:
                return {"was_inserted": self.xet.put_xorb(name, body)}
            case "POST", ["v1", "shards"] if self.xet:
                self.xet.put_shard(body)
                return {"result": 1}
        return None

    def _create(self, asked: Json, authorization: str | None) -> Json:
        owner, name = asked.get("organization"), asked["name"]
        repository = f"{owner}/{name}"
        token = (authorization or "").removeprefix("Bearer ")
        if not token or token not in {*self.writers.values(), *self.readers}:
            raise HubError(HTTPStatus.UNAUTHORIZED, "", "Invalid username or password.")
        if self.writers.get(owner or "") != token:
            text = f'You don\'t have the rights to create a model under the namespace "{owner}"'
            raise HubError(HTTPStatus.FORBIDDEN, "", text)
        url = f"{self.url}/{repository}"
        if repository in self.created:
            raise HubError(HTTPStatus.CONFLICT, "", "You already created this model repo", {"url": url})
        self.created[repository] = asked.get("visibility") == "private"
        self.folder(repository).mkdir(parents=True)
        (self.folder(repository) / ".gitattributes").write_text("*.safetensors filter=lfs\n")
        return {"url": url, "name": repository, "id": repository}

    def _may_write(self, repository: str, authorization: str | None) -> None:
        self.check_visible(repository, authorization)
        if authorization != f"Bearer {self.writers.get(repository.partition('/')[0])}":
            raise HubError(HTTPStatus.FORBIDDEN, "", "You need write access to this repository.")

    def _check_card(self, text: str) -> Json:
        if wrong := _wrong_in_card(text):
            errors = [{"message": message} for message in wrong]
            raise HubError(HTTPStatus.BAD_REQUEST, "", wrong[0], {"errors": errors, "warnings": []})
        return {"errors": [], "warnings": []}

    def _mode(self, repository: str, file: Json) -> Json:
        path = self.folder(repository) / file["path"]
        oid = _blob_oid(path.read_bytes()) if path.is_file() else None
        mode = "lfs" if file["path"].endswith(LARGE) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _lfs_batch(self, asked: Json) -> Json:
        objects = []
        for wanted in asked["objects"]:
            href = f"{self.url}/lfs/{wanted['oid']}"
            actions = {"upload": {"href": href, "header": {}}, "verify": {"href": f"{href}/verify", "header": {}}}
            objects.append({**wanted, **({} if wanted["oid"] in self.objects else {"actions": actions})})
        return {"transfer": "basic", "objects": objects}

    def _commit(self, repository: str, lines: list[Json]) -> Json:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self._large(value["oid"])
        self._check_card(files.get("README.md", b"").decode())
        for path, content in files.items():
            target = self.folder(repository) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        oid = hashlib.sha1(b"".join(path.encode() + content for path, content in files.items())).hexdigest()
        return {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{repository}/commit/{oid}"}

    def _large(self, sha256: str) -> bytes:
        content = self.objects.get(sha256) or (self.xet.file(sha256) if self.xet else None)
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            raise HubError(HTTPStatus.BAD_REQUEST, "", f"LFS pointer to a file that was not uploaded: {sha256}")
        return content


def _wrong_in_card(text: str) -> list[str]:
    """What the hub refuses in a model card's metadata: a base model that is a path."""
    import yaml

    found = FRONT_MATTER.match(text)
    base = (yaml.safe_load(found[1]) or {}).get("base_model", "") if found else ""
    if base and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base):
        return [f'"base_model" with value "{base}" is not valid. Use a model id from https://hf.co/models.']
    return []


def _blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
