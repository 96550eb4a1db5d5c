"""Kubernetes Events about AlignmentJobs, as `kubectl describe` shows them."""

import logging
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import aiohttp

from .api.constants import MANAGER
from .cluster import ApiError, Cluster
from .resources import EVENTS
from .status import Event

log = logging.getLogger(__name__)
MESSAGE_LIMIT = 1024  # the API server's


async def emit(cluster: Cluster, about: dict[str, Any], events: Iterable[Event]) -> None:
    """Post the events, now."""
    for event in events:
        await post(cluster, manifest(about, event, datetime.now(UTC)))


async def post(cluster: Cluster, event: dict[str, Any]) -> None:
    """Post the manifest of one. It is worth no retry: status says the same."""
    try:
        await cluster.create(EVENTS, event)
    except (ApiError, TimeoutError, aiohttp.ClientError, ValueError) as error:  # ValueError: no JSON, of a proxy
        log.warning("event lost", extra={"reason": event["reason"], "error": str(error)})


def manifest(about: dict[str, Any], event: Event, now: datetime) -> dict[str, Any]:
    """A core/v1 Event."""
    meta, stamp = about["metadata"], now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": meta["namespace"], "name": f"{meta['name']}.{secrets.token_hex(8)}"},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": os.environ.get("POD_NAME", MANAGER),
    }
