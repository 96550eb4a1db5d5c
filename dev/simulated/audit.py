"""The audit log: what every client asked of the API server, when, and what it was told. Server-side, so no client lies.

An event is one JSON object (audit.k8s.io/v1 Event): `verb`, `user.username`, `objectRef` (resource, namespace, name,
apiGroup, subresource), `responseStatus.code`, `requestReceivedTimestamp`, `stageTimestamp`; of resources whose bodies
are recorded also `requestObject` and `responseObject`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def policy(bodies: Iterable[str]) -> Json:
    """Metadata of every finished request; `bodies`: API groups of which writes are recorded with their objects."""
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    whole = [{"level": "RequestResponse", "verbs": writes, "resources": [{"group": group}]} for group in bodies]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [*whole, {"level": "Metadata"}],
    }


def events(log: Path, start: int = 0) -> Iterator[Json]:
    """The events from byte `start` of the log on; a last line that is still being written is left out."""
    if not log.exists():
        return
    with log.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)
