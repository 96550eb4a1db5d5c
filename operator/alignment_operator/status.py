"""(AlignmentJob, children, now) -> status, and the events to emit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .api.alignmentjob import AlignmentJob
from .observed import Observed
from .settings import Settings

if TYPE_CHECKING:
    from .runs import Decision


@dataclass(frozen=True, slots=True)
class Event:
    """`type`: Normal or Warning."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StatusResult:
    """`status` is complete; it holds `progress` and `metrics` only when `take_over_progress` (then forced over the endpoint's).

    `look_again`: seconds until time alone changes the status, None: never.
    """

    status: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    look_again: float | None = None
    take_over_progress: bool = False


def compute(
    job: AlignmentJob, observed: Observed, decision: Decision, now: datetime, settings: Settings
) -> StatusResult:
    raise NotImplementedError
