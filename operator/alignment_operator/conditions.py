"""Conditions as Kubernetes wants them: the time moves only when the status does; the generation says of which spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .api.constants import ConditionType
from .api.status import Condition

MESSAGE_LIMIT = 4096  # characters; the scheduler's lists of nodes can be endless
ORDER = tuple(ConditionType)


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition without its time: True or False, a reason constant, a sentence.

    `generation`: of the spec that it is about; None: of the present one.
    """

    true: bool
    reason: str
    message: str
    generation: int | None = None


def stamp(time: datetime) -> str:
    """RFC 3339 in whole seconds, as the API server writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(
    facts: Mapping[ConditionType, Fact], old: Iterable[Condition] | None, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """`status.conditions` in the order of ConditionType; those that are not in `facts` are gone."""
    before = {condition.type: condition for condition in old or ()}
    return [_condition(kind, facts[kind], before.get(kind), generation, now) for kind in ORDER if kind in facts]


def _condition(kind: str, fact: Fact, old: Condition | None, generation: int, now: datetime) -> dict[str, Any]:
    status = str(fact.true)
    return {
        "type": str(kind),
        "status": status,
        "observedGeneration": generation if fact.generation is None else fact.generation,
        "lastTransitionTime": old.last_transition_time if old and old.status == status else stamp(now),
        "reason": str(fact.reason),
        "message": fact.message[:MESSAGE_LIMIT],
    }
