"""`status.warnings`: what is legal and hardly what the user wants, of the spec (api/rules/unwise.py) and of its run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .api.alignmentjob import AlignmentJob, Spec
from .api.expressions import broken
from .api.rules.unwise import WARNINGS
from .overlay import digest
from .settings import Settings
from .views import Kueue, Observed

DEFAULT_QUEUE = "default"  # Kueue puts Jobs without a queue into this LocalQueue, where it exists


def warnings(job: AlignmentJob, observed: Observed, settings: Settings) -> list[str]:
    """Sentences, each with the field to change, in a fixed order."""
    return [*of_spec(job.spec, settings), *_live_run(job, observed)]


def of_spec(spec: Spec, settings: Settings) -> list[str]:
    """What the admission policy would say as well."""
    given = defaults(settings)
    return list(_messages(spec.text, *given.values()))


@lru_cache(maxsize=4096)
def _messages(spec: str, cache_volume: bool, resources: bool) -> tuple[str, ...]:
    """Of a spec as JSON text. Kept: a job is looked at ten times while its spec stays as it is."""
    given = {"cacheVolume": cache_volume, "resources": resources}
    return tuple(warning.message for warning in broken(WARNINGS, self=json.loads(spec), defaults=given))


def defaults(settings: Settings) -> dict[str, Any]:
    """What the table calls `defaults`: whether the settings give a cache, and resources, to a job without its own."""
    return {"cacheVolume": settings.pods.cache_volume is not None, "resources": bool(settings.pods.resources)}


def _live_run(job: AlignmentJob, observed: Observed) -> Iterator[str]:
    """What does not reach the run that is there."""
    child = observed.job
    if child and job.spec.queue_name and job.spec.suspend and observed.kueue is Kueue.FORBIDDEN:
        yield (
            "spec.suspend does not stop a run that is in a queue, for the operator has no rights on Kueue's Workloads: "
            "set spec.active of its Workload to false, or the chart's rbac.kueue to true."
        )
    # A rule cannot compare opaque content, so a change of podTemplate is let through; live pods have the old one.
    if child and child.queue_name and not job.spec.queue_name and child.queue_name != DEFAULT_QUEUE:
        yield f"The run stays in queue {child.queue_name}; without spec.queueName is the next one: change spec.rerun."
    if child and child.template_digest and child.template_digest != digest(job.spec.pod_template):
        yield "spec.podTemplate was changed; it acts from the next run: change spec.rerun to start one."
