"""AlignmentJob -> child manifests."""

from __future__ import annotations

from typing import Any

from .api.alignmentjob import AlignmentJob
from .recipe import Recipe
from .settings import Settings


def child_name(job_name: str, run: int) -> str:
    return f"{job_name}-r{run}"


def config_map(job: AlignmentJob, recipe: Recipe, run: int, settings: Settings, ca_pem: str) -> dict[str, Any]:
    raise NotImplementedError


def service(job: AlignmentJob, run: int, settings: Settings) -> dict[str, Any] | None:
    """Headless Service; None with one node."""
    raise NotImplementedError


def job(job: AlignmentJob, recipe: Recipe, run: int, settings: Settings, upstream: Any = None) -> dict[str, Any]:
    raise NotImplementedError
