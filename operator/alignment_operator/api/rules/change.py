"""Rules about changing a spec once a run exists.

They stand at the root, because they read status, and so they are evaluated on status writes too: all of them compare
with `oldSelf`, hold when the spec is left alone, and ask first what is cheap (`scope.py` says what that is). That is
also why they are told at `spec`, as one entry of the CRD (`joined.py`): as a rule for each field, with its path, they
were half of what a status write cost.
"""

from alignment_operator.api.rules.rule import FORBIDDEN, PRESENT, Framed, Rule
from alignment_operator.api.spec import Spec

__all__ = ["CHANGE_RULES", "FIXED"]

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
FIXED = sorted({field.alias or key for key, field in Spec.model_fields.items()} - FREE - GUARDED)

_RUN = "has(oldSelf.status.jobName) && oldSelf.status.jobName != ''"
_TOKEN = "(has({0}.spec.rerun) ? {0}.spec.rerun : '')"
_TAKEN = "(has(oldSelf.status.rerun) ? oldSelf.status.rerun : '')"
_NEW_RUN = f"{_TOKEN.format('self')} != {_TAKEN}"
_CURE = "unless spec.rerun changes too: then a new run starts from the new spec"


def _differs(field: str) -> str:
    """CEL: both have this field, with different values. What the comparison raises, has() takes back."""
    new, old = f"self.{field}", f"oldSelf.{field}"
    above = field.rpartition(".")[0]
    parents = "" if above == "status" else f" && has(self.{above}) && has(oldSelf.{above})"
    return f"({new} != {old} && has({new}) && has({old}){parents})"


# A write of status never changes the spec, nor the other way round: the API server sees to that.
_STATUS_WRITE = f"{_differs('status.phase')} || {_differs('status.progress.lastReportTime')}"


def _same(field: str) -> str:
    new, old = f"self.spec.{field}", f"oldSelf.spec.{field}"
    return f"{new} == {old}" if field in PRESENT else f"(has({new}) ? has({old}) && {new} == {old} : !has({old}))"


_CHANGED = " + ".join(f"({_same(name)} ? '' : ' {name},')" for name in FIXED)
_PRIORITY = "workloadPriorityClass"
_WAS_SUSPENDED = "(has(oldSelf.spec.suspend) && oldSelf.spec.suspend)"


def _fixed(condition: str) -> Framed:
    """CEL: the condition holds while a run exists, unless a new one is asked for."""
    return Framed(f"{_STATUS_WRITE} || !({_RUN}) || {_NEW_RUN} || ({{}})", condition)


CHANGE_RULES = [
    Rule(
        "fixed",
        _fixed(" && ".join(map(_same, FIXED))),
        f"fixed while a run exists, {_CURE}",
        "spec",
        "the run would go on with the old values, and resume with them",
        FORBIDDEN,
        f"'fixed while a run exists:' + {_CHANGED} + ' {_CURE}'",
    ),
    Rule(
        "fixed-queueName",
        _fixed(f"{_same('queueName')} || {_WAS_SUSPENDED}"),
        "queueName may change only while suspended: set suspend: true first, or change spec.rerun too",
        "spec",
        "Kueue refuses to move a running Job to another queue",
        FORBIDDEN,
    ),
    Rule(
        "fixed-workloadPriorityClass",
        _fixed(f"has(self.spec.{_PRIORITY}) == has(oldSelf.spec.{_PRIORITY}) || {_WAS_SUSPENDED}"),
        f"{_PRIORITY} may be exchanged at any time, but set or removed only while suspended: set suspend: true first",
        "spec",
        "Kueue refuses it on a running Job",
        FORBIDDEN,
    ),
    Rule(
        "rerun-token-back",
        _fixed(f"{_TOKEN.format('oldSelf')} == {_TAKEN}"),
        "the current run already has this rerun token, and the spec was changed for a new run: choose another token",
        "spec",
        "the run would carry a spec that it was not made from",
        FORBIDDEN,
    ),
]
