"""Kueue's Workload, as far as the operator reads it: the object of the API server's JSON -> WorkloadView.

v1beta1 and v1beta2 have the same words here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .api.constants import MANAGER
from .observed import parse_time
from .views import Condition, WorkloadView

Object = Mapping[str, Any]
CHILD = re.compile(r"(?P<name>.+)-r\d+")  # jobs.child_name


def project_workload(obj: Object) -> WorkloadView:
    """A `kueue.x-k8s.io` Workload -> WorkloadView; never raises on a missing field."""
    meta, spec, status = obj.get("metadata", {}), obj.get("spec", {}), obj.get("status", {})
    owner = _job(meta)
    return WorkloadView(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        api=obj.get("apiVersion", ""),
        job_name=owner.get("name", ""),
        job_uid=owner.get("uid", ""),
        queue_name=spec.get("queueName", ""),
        active=spec.get("active", True),
        set_by_us=_is_ours(meta),
        checks=tuple(_pending_checks(status)),
        conditions=tuple(_condition(c) for c in status.get("conditions") or ()),
    )


def alignment_job_of(obj: Object) -> str | None:
    """Name of the AlignmentJob whose run this Workload may be; by the Job's name, for the Job may not be known yet."""
    named = CHILD.fullmatch(_job(obj["metadata"]).get("name", ""))
    return named["name"] if named else None


def _job(meta: Object) -> Object:
    owners = meta.get("ownerReferences") or ()
    return next((o for o in owners if o.get("controller") and o.get("kind") == "Job"), {})


def _is_ours(meta: Object) -> bool:
    """Whether the operator wrote `spec.active` last.

    The API server says so, to whoever is the leader now: a field belongs to the last manager that changed its value.
    """
    entries = [e for e in meta.get("managedFields") or () if e.get("manager") == MANAGER]
    return any("f:active" in e.get("fieldsV1", {}).get("f:spec", {}) for e in entries)


def _pending_checks(status: Object) -> list[str]:
    checks = [c for c in status.get("admissionChecks") or () if c.get("state") != "Ready"]
    return [f"{c.get('name', '')} ({c.get('message') or c.get('state', '')})" for c in checks]


def _condition(c: Object) -> Condition:
    time = parse_time(c.get("lastTransitionTime"))
    return Condition(c["type"], c["status"], c.get("reason", ""), c.get("message", ""), time)
