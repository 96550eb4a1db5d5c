"""Rules about changing a spec once a run exists.

They stand at the root, because they read status, and so they are evaluated on status writes too: all of them compare
with `oldSelf` and hold when the spec is left alone.
"""

from alignment_operator.api.rules.rule import FORBIDDEN, METHODS, PRESENT, Rule
from alignment_operator.api.spec import Spec

__all__ = ["CHANGE_RULES"]

# May change at any time. `podTemplate` holds content that CEL cannot compare: a change acts from the next run.
FREE = {
    "suspend",
    "rerun",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "podTemplate",
}
GUARDED = {"queueName", "workloadPriorityClass"}

_RUN = "has(oldSelf.status) && has(oldSelf.status.jobName) && oldSelf.status.jobName != ''"
_TOKEN = "(has({0}.spec.rerun) ? {0}.spec.rerun : '')"
_TAKEN = "(has(oldSelf.status.rerun) ? oldSelf.status.rerun : '')"
_NEW_RUN = f"{_TOKEN.format('self')} != {_TAKEN}"
_CURE = "is fixed while a run exists: change spec.rerun too, and a new run starts from the new spec"


# A write of status never changes the spec, nor the other way round: the API server sees to that. Where the phase
# changes, sections need not be compared, which costs it a copy of their whole schema for every field that is set.
_STATUS_WRITE = (
    "(has(self.status) && has(self.status.phase) && has(oldSelf.status) && "
    "(!has(oldSelf.status.phase) || self.status.phase != oldSelf.status.phase))"
)
SECTIONS = {"model", "dataset", "training", *METHODS, "output", "cache", "resources", "referenceModel"}


def _same(field: str) -> str:
    if field in PRESENT:
        return f"self.spec.{field} == oldSelf.spec.{field}"
    return (
        f"has(self.spec.{field}) ? has(oldSelf.spec.{field}) && self.spec.{field} == oldSelf.spec.{field} "
        f": !has(oldSelf.spec.{field})"
    )


def _fixed(field: str) -> Rule:
    return Rule(
        f"fixed-{field}",
        # the cheapest first: status writes ask this too
        f"{_STATUS_WRITE + ' || ' if field in SECTIONS else ''}({_same(field)}) || !({_RUN}) || {_NEW_RUN}",
        f"{field} {_CURE}",
        f"spec.{field}",
        "the run would go on with the old value, and resume with it",
        FORBIDDEN,
    )


_WAS_SUSPENDED = "(has(oldSelf.spec.suspend) && oldSelf.spec.suspend)"

CHANGE_RULES = [
    *(_fixed(name) for name in sorted(field.alias or key for key, field in Spec.model_fields.items())
      if name not in FREE | GUARDED),
    Rule(
        "fixed-queueName",
        f"!({_RUN}) || {_NEW_RUN} || {_WAS_SUSPENDED} || ({_same('queueName')})",
        "queueName may change only while suspended: set suspend: true first, or change spec.rerun too",
        "spec.queueName",
        "Kueue refuses to move a running Job to another queue",
        FORBIDDEN,
    ),
    Rule(
        "fixed-workloadPriorityClass",
        f"!({_RUN}) || {_NEW_RUN} || {_WAS_SUSPENDED} || "
        "has(self.spec.workloadPriorityClass) == has(oldSelf.spec.workloadPriorityClass)",
        "may be exchanged at any time, but set or removed only while suspended: set suspend: true first",
        "spec.workloadPriorityClass",
        "Kueue refuses it on a running Job",
        FORBIDDEN,
    ),
    Rule(
        "rerun-token-back",
        f"!({_RUN}) || {_NEW_RUN} || {_TOKEN.format('oldSelf')} == {_TAKEN}",
        "the current run already has this token, and the spec was changed for a new one: choose another token",
        "spec.rerun",
        "the run would carry a spec that it was not made from",
    ),
]  # fmt: skip
