"""Objects as a release stores them: `vRELEASE.json` maps etcd's keys to values. `capture` makes one for a release.

AlignmentJobs are etcd's own bytes; what Kubernetes keeps in protobuf (Jobs, pods, ConfigMaps, Services) is the API
server's JSON of it, which etcd may hold as well.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMESPACE = "stored"
Json = dict[str, Any]


class Etcd:
    """The JSON gateway of an etcd at that URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, prefix: str) -> dict[str, str]:
        """Every key that begins so, with its value."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        answer = self._call("range", {"key": _coded(prefix), "range_end": _coded(end)})
        return {_decoded(pair["key"]): _decoded(pair["value"]) for pair in answer.get("kvs", ())}

    def put(self, key: str, value: str) -> None:
        self._call("put", {"key": _coded(key), "value": _coded(value)})

    def _call(self, method: str, body: Json) -> Json:
        request = urllib.request.Request(f"{self._url}/v3/kv/{method}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: Json = json.load(answer)
        return found


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
