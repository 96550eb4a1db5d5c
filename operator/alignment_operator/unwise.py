"""`status.warnings`: what is legal and yet hardly what the user wants. What nobody wants is a rule instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .api.alignmentjob import AlignmentJob, Spec
from .api.constants import ReferenceStrategy
from .overlay import digest
from .recipe import WITH_REFERENCE, method_of, strategy
from .settings import Settings
from .views import Kueue, Observed

SHORT_GRACE_SECONDS = 30
DEFAULT_QUEUE = "default"  # Kueue puts Jobs without a queue into this LocalQueue, where it exists
LORA_ONLY = (
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "lora_modules_to_save",
    "use_dora",
    "use_rslora",
)
FOUR_BIT_ONLY = ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage")


def warnings(job: AlignmentJob, observed: Observed, settings: Settings) -> list[str]:
    """Sentences, each with the field to change, in a fixed order."""
    spec = job.spec
    found = [sentence for check in CHECKS for sentence in check(spec)]
    return [*found, *_platform(spec, settings), *_live_run(job, observed)]


def _precision(spec: Spec) -> Iterator[str]:
    model = spec.model
    if spec.gpus_per_node == 0 or model.dtype not in (None, "float32"):
        return
    if model.load_in_4bit:
        yield "4-bit weights are computed with in float32, which is slow: set spec.model.dtype to bfloat16."
    elif model.dtype is None and not model.load_in_8bit:
        yield "Without a dtype TRL loads the model in float32: set spec.model.dtype to bfloat16 to halve its memory."


def _checkpoints(spec: Spec) -> Iterator[str]:
    training = spec.training
    if training and training.save_strategy == "no":
        yield "No checkpoint is written, so a stopped run starts again from step 0: remove spec.training.saveStrategy."
    elif not training or not training.save_total_limit:
        yield "Every checkpoint is kept: set spec.training.saveTotalLimit before the output volume is full."
    if spec.termination_grace_period_seconds < SHORT_GRACE_SECONDS:
        yield (
            f"{spec.termination_grace_period_seconds} s may be too short to finish a step and write a checkpoint; "
            "a run killed in it counts as failed: raise spec.terminationGracePeriodSeconds."
        )


def _ignored(spec: Spec) -> Iterator[str]:
    """What TRL takes and does not use."""
    model, config = spec.model, spec.method_config
    lora = [name for name in LORA_ONLY if getattr(model, name) is not None]
    if lora and not model.use_peft and not model.adapter_name_or_path:
        yield f"{_paths('model', lora, spec)} has no effect without spec.model.usePeft: true."
    four_bit = [name for name in FOUR_BIT_ONLY if getattr(model, name) is not None]
    if four_bit and not model.load_in_4bit:
        yield f"{_paths('model', four_bit, spec)} has no effect without spec.model.loadIn4bit: true."
    if method_of(spec).value == "dpo" and getattr(config, "padding_free", None):
        yield "TRL ignores spec.dpo.paddingFree: remove it."
    if getattr(config, "truncation_mode", None) == "keep_end":
        yield f"truncationMode keep_end goes with TRL 2: remove spec.{method_of(spec).value}.truncationMode."


def _reference(spec: Spec) -> Iterator[str]:
    if method_of(spec) not in WITH_REFERENCE or not spec.model.use_peft:
        return
    if strategy(spec) is ReferenceStrategy.RESIDENT and not (spec.reference_model and spec.reference_model.model):
        yield (
            "A second copy of the model is loaded as reference, although the policy without its adapter is the same: "
            "remove spec.referenceModel.strategy."
        )
    if spec.model.lora_target_parameters:
        yield (
            "With spec.model.loraTargetParameters TRL loads the base model a second time as reference: "
            "count its memory twice."
        )


def _safety(spec: Spec) -> Iterator[str]:
    revision = spec.model.model_revision or ""
    if spec.model.trust_remote_code and not re.fullmatch(r"[0-9a-f]{40}", revision):
        yield "The model's Python code may change between attempts: pin spec.model.modelRevision to a commit."
    if spec.nodes > 1 and spec.hang_timeout_seconds is None:
        yield "A pod that hangs makes the others wait for ever: set spec.hangTimeoutSeconds."


CHECKS: tuple[Callable[[Spec], Iterator[str]], ...] = (_precision, _checkpoints, _ignored, _reference, _safety)


def _platform(spec: Spec, settings: Settings) -> Iterator[str]:
    """What depends on the operator's defaults too."""
    local = (spec.model.model_name_or_path or "/").startswith("/")
    if not local and spec.cache is None and settings.pods.cache_volume is None:
        yield "Every attempt downloads the model again: set spec.cache.volume."
    wants = spec.resources.requests or spec.resources.limits if spec.resources else settings.pods.resources
    if spec.queue_name and not wants:
        yield "The queue counts only what is requested: set spec.resources.requests for CPU and memory."


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


def _paths(section: str, names: list[str], spec: Spec) -> str:
    fields = type(getattr(spec, section)).model_fields
    return ", ".join(f"spec.{section}.{fields[name].alias or name}" for name in names)
