"""What really happened to objects, from the API server's audit log: every accepted write, and the life of each object.

Audit lines are written when an answer is complete, so their order is not that of the changes; resourceVersions are
(all resources share one etcd). A server that is killed may lose the line of a change that it made: whoever reads a
History must not conclude from a line that is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]

WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))
API_GROUP = "alignment-operator.io"
JOB_LABEL, RUN_LABEL = f"{API_GROUP}/job", f"{API_GROUP}/run"


@dataclass(frozen=True, slots=True)
class Write:
    """One write that the API server accepted. `object` is what it answered with; None for a Status."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    manager: str
    asked: datetime
    done: datetime
    object: Json | None
    uid: str

    @property
    def version(self) -> int:
        """The resourceVersion that the object has since this write; 0 when the answer has none."""
        return int((self.object or {}).get("metadata", {}).get("resourceVersion") or 0)

    @property
    def removes(self) -> bool:
        """Whether the object was gone with this write."""
        if self.object is None:
            return self.verb == "delete"
        meta = self.object["metadata"]
        if meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
            return False
        return self.verb == "delete" or "deletionTimestamp" in meta

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.done:%H:%M:%S.%f} {self.user} {self.verb} {what} {self.namespace}/{self.name}"


@dataclass(slots=True)
class Life:
    """One object from its creation to its end. `writes` that answered with the object, by resourceVersion."""

    uid: str
    resource: str
    namespace: str
    name: str
    writes: list[Write] = field(default_factory=list)
    removal: Write | None = None

    @property
    def creation(self) -> Write | None:
        """None when the line was lost."""
        return next((write for write in self.writes if write.verb == "create"), None)

    @property
    def first(self) -> Json:
        """The oldest known form of the object."""
        found = self.writes[0].object
        assert found is not None
        return found

    @property
    def labels(self) -> Json:
        labels: Json = self.first["metadata"].get("labels") or {}
        return labels

    @property
    def run(self) -> str:
        """The run of which a child is; empty for what is no child."""
        return str(self.labels.get(RUN_LABEL, ""))

    @property
    def owner(self) -> str:
        """UID of the controlling owner; empty for none."""
        owners = self.first["metadata"].get("ownerReferences") or ()
        return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")

    def at(self, version: int) -> Json | None:
        """The object as it was at that resourceVersion; None before the first that is known."""
        known = [write.object for write in self.writes if write.version <= version]
        return known[-1] if known else None

    def __str__(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name} ({self.uid})"


class History:
    """Accepted writes in the order of the log, and lives by resource."""

    def __init__(self, events: Iterable[Json]) -> None:
        self.writes = list(accepted(events))
        self._lives: dict[str, dict[str, Life]] = defaultdict(dict)
        for write in self.writes:
            if write.uid:
                self._take(write)
        for lives in self._lives.values():
            for life in lives.values():
                life.writes.sort(key=lambda write: write.version)

    def lives(self, resource: str) -> list[Life]:
        """Objects of that resource of which a form is known, by their first resourceVersion."""
        known = (life for life in self._lives[resource].values() if life.writes)
        return sorted(known, key=lambda life: life.writes[0].version)

    def life(self, resource: str, uid: str) -> Life | None:
        return self._lives[resource].get(uid)

    def _take(self, write: Write) -> None:
        lives = self._lives[write.resource]
        life = lives.setdefault(write.uid, Life(write.uid, write.resource, write.namespace, write.name))
        if write.version:
            life.writes.append(write)
        if write.removes and life.removal is None:
            life.removal = write


def accepted(events: Iterable[Json]) -> Iterator[Write]:
    """The writes among audit events that were answered with success and were no dry run."""
    for event in events:
        code = event.get("responseStatus", {}).get("code", 0)
        about = event.get("objectRef")
        if event["verb"] not in WRITES or not about or not 200 <= code < 300 or "dryRun=" in event["requestURI"]:
            continue
        if event["stage"] == "ResponseComplete" and about.get("subresource") not in ("token", "eviction", "binding"):
            yield _write(event, about)


def _write(event: Json, about: Json) -> Write:
    answer = event.get("responseObject") or {}
    found = answer if answer.get("metadata", {}).get("uid") else None
    # A create with generateName has its name in the answer only.
    name = found["metadata"]["name"] if found else about.get("name", "")
    uid = found["metadata"]["uid"] if found else (answer.get("details") or {}).get("uid", "")
    return Write(
        user=event["user"]["username"].rpartition(":")[2],
        verb=event["verb"],
        resource=about["resource"],
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=name,
        manager=_manager(event["requestURI"]),
        asked=_time(event["requestReceivedTimestamp"]),
        done=_time(event["stageTimestamp"]),
        object=found,
        uid=uid,
    )


def _manager(uri: str) -> str:
    return uri.partition("fieldManager=")[2].partition("&")[0]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
