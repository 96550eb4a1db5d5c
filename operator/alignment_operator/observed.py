"""What the operator remembers of an AlignmentJob's children, projected from the API server's objects.

Every `project_*` takes the object as the API server's JSON has it and never raises on a missing field: a half-filled
object is normal in a watch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .api.constants import (
    JOB_LABEL,
    KIND,
    MANAGED_BY_LABEL,
    MANAGER,
    PRIORITY_CLASS_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    TEMPLATE_ANNOTATION,
)
from .views import Condition as Condition
from .views import JobEvent as JobEvent
from .views import JobView as JobView
from .views import Observed as Observed
from .views import PodEvent as PodEvent
from .views import PodView as PodView
from .views import Termination as Termination
from .views import UpstreamView as UpstreamView

Object = Mapping[str, Any]


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 of the API server -> aware datetime."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def project_job(obj: Object) -> JobView:
    """A `batch/v1` Job -> JobView."""
    meta, spec, status = obj.get("metadata", {}), obj.get("spec", {}), obj.get("status", {})
    return JobView(
        **_whose(meta),
        start_time=parse_time(status.get("startTime")),
        completion_time=parse_time(status.get("completionTime")),
        suspended=bool(spec.get("suspend")),
        succeeded=status.get("succeeded") or 0,
        failed=status.get("failed") or 0,
        conditions=conditions_of(status),
        backoff_limit=spec.get("backoffLimit"),
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        deleting="deletionTimestamp" in meta,
        template_digest=(meta.get("annotations") or {}).get(TEMPLATE_ANNOTATION, ""),
    )


def _whose(meta: Object) -> dict[str, Any]:
    labels = meta.get("labels") or {}
    owner: Object = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), {})
    owned = owner.get("kind") == KIND
    return {
        "namespace": meta.get("namespace", ""),
        "name": meta.get("name", ""),
        "uid": meta.get("uid", ""),
        "run": number_of(labels.get(RUN_LABEL)),
        "owner": labels.get(JOB_LABEL, ""),
        "owner_uid": owner.get("uid", "") if owned else "",
        "creation": parse_time(meta.get("creationTimestamp")),
        "queue_name": labels.get(QUEUE_LABEL),
        "priority_class": labels.get(PRIORITY_CLASS_LABEL),
        "ours": labels.get(MANAGED_BY_LABEL) == MANAGER and owned,
    }


def project_event(obj: Object) -> JobEvent:
    """A `v1` or `events.k8s.io/v1` Event about a Job -> JobEvent."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    time = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("deprecatedLastTimestamp")
    return JobEvent(
        namespace=about.get("namespace", ""),
        job_name=about.get("name", ""),
        reason=obj.get("reason", ""),
        message=obj.get("message") or obj.get("note", ""),
        time=parse_time(time or obj.get("metadata", {}).get("creationTimestamp")),
    )


def project_pod_event(obj: Object) -> PodEvent:
    """A `v1` Event about a Pod -> PodEvent."""
    time = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("metadata", {}).get("creationTimestamp")
    uid = obj.get("involvedObject", {}).get("uid", "")
    return PodEvent(uid, obj.get("reason", ""), obj.get("message", ""), parse_time(time))


def project_upstream(name: str, obj: Object | None) -> UpstreamView:
    """The AlignmentJob that `fromJob` names (None: it does not exist) -> UpstreamView."""
    if obj is None:
        return UpstreamView(name)
    spec, status = obj.get("spec", {}), obj.get("status", {})
    conditions, model = conditions_of(status), spec.get("model", {})
    return UpstreamView(
        name=name,
        exists=True,
        complete=true(conditions, "Complete") is not None,
        failed=true(conditions, "Failed") is not None,
        run=status.get("run"),
        output_path=status.get("outputPath", ""),
        volume=spec.get("output", {}).get("volume"),
        artifacts=status.get("result", {}).get("artifacts", {}),
        model=model,
        adapter=bool(model.get("usePeft") or model.get("adapterNameOrPath")),
        merged=bool(spec.get("output", {}).get("merge")),
    )


def conditions_of(status: Object) -> tuple[Condition, ...]:
    """`status.conditions` of any object."""
    return tuple(
        Condition(
            c["type"], c["status"], c.get("reason", ""), c.get("message", ""), parse_time(c.get("lastTransitionTime"))
        )
        for c in status.get("conditions") or ()
    )


def find(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """The condition of that type, true or false."""
    return next((c for c in conditions if c.type == kind), None)


def true(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """The condition of that type when it is true."""
    found = find(conditions, kind)
    return found if found and found.status == "True" else None


def number_of(text: str | None) -> int:
    """The number that a label holds; 0 for none."""
    return int(text) if text and text.isdigit() else 0
