"""What is legal and yet hardly what the user wants, once: status and the chart's admission policy say the same.

`self` is the spec, `defaults` what the operator's settings give to every job (`alignment_operator.unwise.defaults`).
What nobody wants is a rule instead, and is not warned about here.
"""

from __future__ import annotations

from dataclasses import dataclass

from alignment_operator.api.rules.rule import STRATEGY, get, has, on, when

__all__ = ["WARNINGS", "Warning"]

SHORT_GRACE_SECONDS = 30


@dataclass(frozen=True)
class Warning:
    """A condition on the spec that wise ones keep; `message` is a sentence with the field to change."""

    id: str
    expression: str
    message: str


_FULL = f"({get('model.dtype', chr(39) + 'float32' + chr(39))} == 'float32')"
_ADAPTED = f"((has(self.dpo) || has(self.kto)) && {on('model.usePeft')})"
_KEEPS = f"({get('training.saveStrategy', chr(39) * 2)} != 'no')"

WARNINGS = [
    Warning(
        "four-bit-in-full-precision",
        f"!(self.gpusPerNode > 0 && {on('model.loadIn4bit')} && {_FULL})",
        "4-bit weights are computed with in float32, which is slow: set spec.model.dtype to bfloat16.",
    ),
    Warning(
        "full-precision-by-default",
        f"self.gpusPerNode == 0 || {has('model.dtype')} || {on('model.loadIn4bit')} || {on('model.loadIn8bit')}",
        "Without a dtype TRL loads the model in float32: set spec.model.dtype to bfloat16 to halve its memory.",
    ),
    Warning(
        "no-checkpoint",
        _KEEPS,
        "No checkpoint is written, so a stopped run starts again from step 0: remove spec.training.saveStrategy.",
    ),
    Warning(
        "every-checkpoint",
        when(_KEEPS, f"{get('training.saveTotalLimit', '0')} > 0"),
        "Every checkpoint is kept: set spec.training.saveTotalLimit before the output volume is full.",
    ),
    Warning(
        "short-grace",
        f"!has(self.terminationGracePeriodSeconds) || self.terminationGracePeriodSeconds >= {SHORT_GRACE_SECONDS}",
        f"Less than {SHORT_GRACE_SECONDS} s may be too short to finish a step and write a checkpoint, and a run killed "
        "in it counts as failed: raise spec.terminationGracePeriodSeconds.",
    ),
    *(
        Warning(
            f"truncation-mode-{method}",
            f"{get(f'{method}.truncationMode', chr(39) * 2)} != 'keep_end'",
            f"truncationMode keep_end goes with TRL 2: remove spec.{method}.truncationMode.",
        )
        for method in ("dpo", "sft")
    ),
    Warning(
        "reference-twice",
        f"!({_ADAPTED} && {STRATEGY} == 'Resident' && !({has('referenceModel.model')}))",
        "A second copy of the model is loaded as reference, although the policy without its adapter is the same: "
        "remove spec.referenceModel.strategy.",
    ),
    Warning(
        "reference-beside-parameters",
        f"!({_ADAPTED} && {has('model.loraTargetParameters')})",
        "With spec.model.loraTargetParameters TRL loads the base model a second time as reference: "
        "count its memory twice.",
    ),
    Warning(
        "code-that-may-change",
        when(on("model.trustRemoteCode"), f"{get('model.modelRevision', chr(39) * 2)}.matches('^[0-9a-f]{{40}}$')"),
        "The model's Python code may change between attempts: pin spec.model.modelRevision to a commit.",
    ),
    Warning(
        "hang-for-ever",
        "self.nodes == 1 || has(self.hangTimeoutSeconds)",
        "A pod that hangs makes the others wait for ever: set spec.hangTimeoutSeconds.",
    ),
    Warning(
        "downloads-again",
        f"{get('model.modelNameOrPath', chr(39) + '/' + chr(39))}.startsWith('/') || has(self.cache) || "
        "defaults.cacheVolume",
        "Every attempt downloads the model again: set spec.cache.volume.",
    ),
    Warning(
        "queue-counts-nothing",
        when(
            "has(self.queueName)",
            "has(self.resources) ? (has(self.resources.requests) && size(self.resources.requests) > 0) || "
            "(has(self.resources.limits) && size(self.resources.limits) > 0) : defaults.resources",
        ),
        "The queue counts only what is requested: set spec.resources.requests for CPU and memory.",
    ),
]
