"""Kubernetes Events about AlignmentJobs, as `kubectl describe` shows them."""

import logging
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp

from .api.constants import MANAGER
from .cluster import ApiError, Cluster
from .resources import EVENTS
from .status import Event

log = logging.getLogger(__name__)
MESSAGE_LIMIT = 1024  # the API server's


class Noted(NamedTuple):
    """An event that happened to an object, in a fifth of the memory of its manifest: thousands may wait."""

    kind: str
    api: str
    namespace: str
    name: str
    uid: str
    version: str
    event: Event
    time: datetime


def noted(about: dict[str, Any], event: Event) -> Noted:
    """With the present time."""
    meta = about["metadata"]
    names = (meta["namespace"], meta["name"], meta["uid"], meta["resourceVersion"])
    return Noted(about["kind"], about["apiVersion"], *names, event, datetime.now(UTC))


async def emit(cluster: Cluster, about: dict[str, Any], events: Iterable[Event]) -> None:
    """Post the events, now."""
    for event in events:
        await post(cluster, noted(about, event))


async def post(cluster: Cluster, note: Noted) -> None:
    """Post one. It is worth no retry: status says the same."""
    try:
        await cluster.create(EVENTS, manifest(note))
    except (ApiError, TimeoutError, aiohttp.ClientError, ValueError) as error:  # ValueError: no JSON, of a proxy
        log.warning("event lost", extra={"reason": note.event.reason, "error": str(error)})


def manifest(note: Noted) -> dict[str, Any]:
    """A core/v1 Event."""
    stamp = note.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": note.namespace, "name": f"{note.name}.{secrets.token_hex(8)}"},
        "involvedObject": {
            "apiVersion": note.api,
            "kind": note.kind,
            "namespace": note.namespace,
            "name": note.name,
            "uid": note.uid,
            "resourceVersion": note.version,
        },
        "type": note.event.type,
        "reason": note.event.reason,
        "message": note.event.message[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": os.environ.get("POD_NAME", MANAGER),
    }
