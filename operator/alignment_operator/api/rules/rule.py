"""What a rule is, and the few words that rules are written in.

Expressions are core CEL (no Kubernetes extension functions): the API server and `render` evaluate the same text.
"""

from dataclasses import dataclass
from typing import Literal

INVALID: Literal["FieldValueInvalid"] = "FieldValueInvalid"
FORBIDDEN: Literal["FieldValueForbidden"] = "FieldValueForbidden"
REQUIRED: Literal["FieldValueRequired"] = "FieldValueRequired"
Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"]

# Present in every object that passes the schema: required, or with a default.
PRESENT = {"model", "dataset", "output", "nodes", "gpusPerNode", "suspend", "backoffLimit"}
# Most jobs have these. What they hold is asked for before they are themselves: each look at a section costs the API
# server a copy of its schema (`scope.py`), and what a missing one raises there, `&&` takes back, as CEL defines it.
USUAL = {"training", "dpo", "resources"}


@dataclass(frozen=True)
class Framed:
    """A condition in a frame: CEL with `{}` where the condition stands. Rules of one frame can be asked as one."""

    frame: str
    condition: str

    def __str__(self) -> str:
        return self.around(self.condition)

    def around(self, condition: str) -> str:
        """Return CEL: another condition in the same frame."""
        return self.frame.replace("{}", condition)


@dataclass(frozen=True)
class Rule:
    """A condition that every spec keeps. Paths and `self` are relative to `spec` (for change rules: to the object)."""

    id: str
    holds: str | Framed
    message: str
    path: str
    why: str  # the TRL error that the rule pre-empts, or what happens without it
    reason: Reason = INVALID
    told: str = ""  # CEL of the API server: the message where it depends on the object; asked only of a broken rule

    @property
    def expression(self) -> str:
        """The whole condition in CEL."""
        return str(self.holds)


# The lists of settings.allowed that a rule may need.
REMOTE_CODE, IMAGES, SERVICE_ACCOUNTS, MAX_GPUS = "remote_code", "images", "service_accounts", "max_gpus"


@dataclass(frozen=True)
class AllowedRule:
    """A condition on the spec that the settings make. `path` is below `spec`; `why`: the way round without it."""

    id: str
    needs: tuple[str, ...]
    expression: str
    message: str
    path: str
    why: str

    @property
    def told(self) -> str:
        """The message as the admission policy says it, which has no other place for the path."""
        return f"spec.{self.path}: {self.message}"


def has(path: str) -> str:
    """Return CEL: the field at this path is set. Optional parents are checked, too."""
    parts = path.split(".")
    steps = [".".join(parts[: depth + 1]) for depth in range(len(parts)) if depth or parts[0] not in PRESENT]
    if parts[0] in USUAL:
        steps.reverse()
    return " && ".join(f"has(self.{step})" for step in steps) or "true"


def get(path: str, default: str) -> str:
    """Return CEL: the field's value, or the default if it is unset."""
    return f"({has(path)} ? self.{path} : {default})"


def on(path: str) -> str:
    """Return CEL: the field is true."""
    return f"({has(path)} && self.{path})"


def each(path: str, name: str, condition: str, *, usual: bool = True) -> Framed:
    """Return CEL: the condition, in which `name` is the field's value, holds where the field is set.

    Of a field that most jobs set (`usual`) it is asked only where the condition does not hold whether it is set.
    """
    unset, holds = f"!({has(path)})", f"[self.{path}].all({name}, {{}})"
    return Framed(f"({holds} || {unset})" if usual else f"({unset} || {holds})", condition)


def when(condition: str, then: str) -> str:
    """Return CEL: `then` must hold where `condition` does."""
    return f"!({condition}) || ({then})"


def under(condition: str, then: str) -> Framed:
    """The same, for a condition that several rules with one path begin with (`joined.py`)."""
    return Framed(f"!({condition}) || ({{}})", then)


METHODS = ("dpo", "sft", "orpo", "cpo", "kto", "reward")
TRAINS_ADAPTER = f"({on('model.usePeft')} || {has('model.adapterNameOrPath')})"
QUANTIZED = f"({on('model.loadIn4bit')} || {on('model.loadIn8bit')})"
STREAMING = (
    "[self.dataset].exists(data, (has(data.datasetStreaming) && data.datasetStreaming) || "
    "(has(data.streaming) && data.streaming))"
)
STRATEGY = get("referenceModel.strategy", "'Auto'")
EVALUATES = f"({get('training.evalStrategy', chr(39) + 'no' + chr(39))} != 'no')"
PROCESSES = "(has(self.processesPerNode) ? self.processesPerNode : (self.gpusPerNode > 0 ? self.gpusPerNode : 1))"


def precomputes(method: str) -> str:
    """Return CEL: the reference log-probabilities of this method are computed before training."""
    return f"({on(f'{method}.precomputeRefLogProbs')} || (has(self.{method}) && {STRATEGY} == 'Precomputed'))"
