"""What is legal and yet hardly what the user wants, once: status and the chart's admission policy say the same.

`self` is the spec, `defaults` what the operator's settings give to every job (`alignment_operator.unwise.defaults`).
What nobody wants is a rule instead, and is not warned about here.
"""

from __future__ import annotations

from dataclasses import dataclass

from alignment_operator.api.rules.rule import STRATEGY, get, has, on, precomputes, when

__all__ = ["WARNINGS", "Warning"]

SHORT_GRACE_SECONDS = 30
# bfloat16 keeps 8 bits: an update moves a weight only where it is more than a 512th of it, and AdamW's are about as
# large as the learning rate. Of normal weights of 0.02, 85 % are the same after 20 of its steps here, 98 % at 1e-6.
LOST_BELOW = "0.00001"


@dataclass(frozen=True)
class Warning:
    """A condition on the spec that wise ones keep; `message` is a sentence with the field to change."""

    id: str
    expression: str
    message: str


_FULL = f"({get('model.dtype', chr(39) + 'float32' + chr(39))} == 'float32')"
_ADAPTED = f"((has(self.dpo) || has(self.kto)) && {on('model.usePeft')})"
_WHOLE = f"!({on('model.usePeft')} || {has('model.adapterNameOrPath')} || {has('model.fromJob')})"
# FSDP and DeepSpeed keep weights of float32 to update beside those they compute with
_SHORT = (
    f"({get('model.dtype', chr(39) * 2)} == 'bfloat16' && !({has('training.fsdp')}) && !({has('training.deepspeed')}))"
)
# TRL's own: 1e-4 for reward, 2e-5 for sft, 1e-6 for the others
_RATE = get("training.learningRate", "(has(self.sft) || has(self.reward) ? 0.00002 : 0.000001)")
_KEEPS = f"({get('training.saveStrategy', chr(39) * 2)} != 'no')"

WARNINGS = [
    Warning(
        "four-bit-in-full-precision",
        f"!(self.gpusPerNode > 0 && {on('model.loadIn4bit')} && {_FULL})",
        "4-bit weights are computed with in float32, which is slow: set spec.model.dtype to bfloat16.",
    ),
    Warning(
        "full-precision-by-default",
        f"self.gpusPerNode == 0 || {_WHOLE} || {has('model.dtype')} || {on('model.loadIn4bit')} || "
        f"{on('model.loadIn8bit')}",
        "Without a dtype TRL loads the frozen weights in float32: set spec.model.dtype to bfloat16 to halve their "
        "memory.",
    ),
    Warning(
        "updates-that-round-to-nothing",
        f"!({_WHOLE} && {_SHORT} && {_RATE} < {LOST_BELOW})",
        "With so low a learning rate most updates of bfloat16 weights round to nothing: leave spec.model.dtype at "
        "float32 (TRL computes in bfloat16 all the same), or set spec.model.usePeft.",
    ),
    Warning(
        "adapter-learns-slowly",
        f"!{on('model.usePeft')} || {has('training.learningRate')} || has(self.reward)",
        "The default learning rate is one for whole models, and an adapter learns little with it: set "
        "spec.training.learningRate to about ten times that.",
    ),
    Warning(
        "fsdp-without-gpus",
        f"self.gpusPerNode > 0 || !({has('training.fsdp')})",
        "Without GPUs FSDP shards nothing, and every process holds the whole model: remove spec.training.fsdp, or set "
        "spec.gpusPerNode.",
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
        "precomputes-again",
        f"!({precomputes('dpo')} || {precomputes('kto')}) || has(self.cache) || defaults.cacheVolume",
        "Every attempt computes the reference log-probabilities again: set spec.cache.volume.",
    ),
    Warning(
        "output-of-one-node",
        f"!({has('output.volume.hostPath')})",
        "Unless spec.output.volume.hostPath is the same storage on every node, a run that goes on on another node "
        "starts from step 0: set spec.output.volume.persistentVolumeClaim.",
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
