"""Which changes of the conditions are worth a Kubernetes Event. The sentence is the condition's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .api.constants import ConditionType, Reason
from .api.status import Condition
from .conditions import Fact

if TYPE_CHECKING:
    from .runs import Decision

WARN = {
    Reason.UNSCHEDULABLE,
    Reason.IMAGE_PULL,
    Reason.VOLUME_NOT_MOUNTED,
    Reason.POD_REFUSED,
    Reason.NODE_LOST,
    Reason.NO_RESULT,
    Reason.INADMISSIBLE,
    Reason.NO_WORKLOAD,
    Reason.KUEUE_NOT_INSTALLED,
    Reason.DEACTIVATED,
}
# (condition, status) whose beginning is told, and those of which a change of reason is told as well
TOLD = {
    (ConditionType.ACCEPTED, False),
    (ConditionType.QUEUED, True),
    (ConditionType.SUSPENDED, True),
    (ConditionType.SUSPENDED, False),
    (ConditionType.RUNNING, True),
    (ConditionType.RUNNING, False),
    (ConditionType.COMPLETE, True),
    (ConditionType.FAILED, True),
}
# of Running=False only what stops a run is news
QUIET = {Reason.NOT_RUNNING, Reason.STARTING, Reason.NOT_SUSPENDED}


@dataclass(frozen=True, slots=True)
class Event:
    """`type`: Normal or Warning."""

    type: str
    reason: str
    message: str


def announce(
    facts: Mapping[ConditionType, Fact], old: Iterable[Condition] | None, decision: Decision, status: Mapping[str, Any]
) -> list[Event]:
    """The events of this change, in the order of the conditions; none when nothing changed."""
    before = {condition.type: condition for condition in old or ()}
    events = [_beginning(decision, status)] if decision.new_run else []
    queued = before.get(ConditionType.QUEUED)
    for kind, fact in facts.items():
        if _is_news(kind, fact, before.get(kind)):
            events.append(Event(_type(kind, fact), str(fact.reason), fact.message))
    if queued and queued.status == "True" and facts[ConditionType.QUEUED].reason == Reason.ADMITTED:
        events.append(Event("Normal", Reason.ADMITTED, facts[ConditionType.QUEUED].message))
    return events


def _is_news(kind: ConditionType, fact: Fact, old: Condition | None) -> bool:
    if (kind, fact.true) not in TOLD:
        return False
    if fact.reason == Reason.NOT_SUSPENDED:
        return old is not None and old.status == "True"
    if kind is ConditionType.RUNNING and fact.true:  # after `Created` it is no news: only the end of an obstacle is
        return old is not None and old.status != "True" and old.reason not in QUIET
    if fact.reason in QUIET:
        return False
    return old is None or old.status != str(fact.true) or old.reason != fact.reason


def _type(kind: ConditionType, fact: Fact) -> str:
    bad = kind is ConditionType.FAILED or (kind is ConditionType.ACCEPTED and not fact.true) or fact.reason in WARN
    return "Warning" if bad else "Normal"


def _beginning(decision: Decision, status: Mapping[str, Any]) -> Event:
    reason = Reason.CREATED if decision.run == 1 else Reason.RERUN
    return Event(
        "Normal",
        reason,
        f"Run {decision.run} starts as Job {status['jobName']}; its output goes to {status['outputPath']}.",
    )
