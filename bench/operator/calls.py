"""API calls out of the audit log: who called what, when it was received, when it was answered. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Call:
    """One answered request. Times are seconds of the API server's clock."""

    verb: str
    resource: str  # "jobs", "alignmentjobs/status"
    namespace: str
    name: str
    user: str
    code: int
    received: float
    answered: float


def parse(event: Mapping[str, Any]) -> Call:
    """An audit event of stage ResponseComplete -> Call."""
    about = event.get("objectRef") or {}
    resource = "/".join(filter(None, (about.get("resource", event.get("requestURI", "")), about.get("subresource"))))
    return Call(
        verb=event["verb"],
        resource=resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        user=event["user"]["username"],
        code=(event.get("responseStatus") or {}).get("code", 0),
        received=_seconds(event["requestReceivedTimestamp"]),
        answered=_seconds(event["stageTimestamp"]),
    )


def parse_line(line: bytes) -> Call:
    """A line of the audit log -> Call."""
    return parse(json.loads(line))


def counted(calls: Iterable[Call], users: Iterable[str]) -> list[Call]:
    """What these users asked for, without watches, Leases and the discovery of the API."""
    ours = set(users)
    return [
        call
        for call in calls
        if call.user in ours
        and call.verb != "watch"
        and call.resource != "leases"
        and not call.resource.startswith("/")
    ]


def by_verb(calls: Iterable[Call]) -> dict[str, int]:
    """`patch alignmentjobs/status` -> how often, the most frequent first."""
    return dict(Counter(f"{call.verb} {call.resource}" for call in calls).most_common())


def writes(calls: Iterable[Call]) -> list[Call]:
    """What changed something, or tried to."""
    return [call for call in calls if call.verb not in READS]


def latencies(calls: Iterable[Call], resource: str, job_of: Callable[[str], str]) -> dict[str, float]:
    """Seconds from the API server's receiving the create of each `resource` to its having answered its Job's create.

    Objects without a Job are left out. `job_of`: name of the object -> name of its Job.
    """
    begun: dict[tuple[str, str], float] = {}
    made: dict[tuple[str, str], float] = {}
    for call in calls:
        if call.verb == "create" and call.code < 300:
            if call.resource == resource:
                begun[call.namespace, call.name] = call.received
            elif call.resource == "jobs":
                made.setdefault((call.namespace, call.name), call.answered)
    jobs = {key: (key[0], job_of(key[1])) for key in begun}
    return {key[1]: made[job] - begun[key] for key, job in jobs.items() if job in made}


def span(calls: Iterable[Call], resource: str) -> float:
    """Seconds from the first create of `resource` received to the last create of a Job answered."""
    creates = [call for call in calls if call.verb == "create" and call.code < 300]
    first = min(call.received for call in creates if call.resource == resource)
    return max(call.answered for call in creates if call.resource == "jobs") - first


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
