"""Rules about what the hardware does: precision, devices, memory saved by recomputation, sharding."""

from alignment_operator.api.rules.rule import PROCESSES, Rule, get, has, on, under, when

__all__ = ["HARDWARE_RULES"]

# The new name wins over the old one; unset, TRL's configs turn it on.
_CHECKPOINTS = get("training.activationCheckpointing", get("training.gradientCheckpointing", "true"))


def _needs_gpu(rule: str, path: str, value: str, what: str, why: str) -> Rule:
    """All at the path of the cure, so that a job with a GPU is asked once (`joined.py`)."""
    message = f"{what} needs a GPU: set at least 1, or remove {path}"
    return Rule(rule, under("self.gpusPerNode == 0", f"!({value})"), message, "gpusPerNode", why)


PRECISION_RULES = [
    Rule(
        "fp16-and-bf16",
        f"!({on('training.fp16')} && {on('training.bf16')})",
        "fp16 and bf16 exclude each other: remove one",
        "training.bf16",
        "ValueError: At most one of fp16 and bf16 can be True, but not both",
    ),
    Rule(
        "fp16-and-bf16-eval",
        f"!({on('training.fp16FullEval')} && {on('training.bf16FullEval')})",
        "fp16FullEval and bf16FullEval exclude each other: remove one",
        "training.bf16FullEval",
        "ValueError: At most one of fp16 and bf16 can be True for full eval, but not both",
    ),
    _needs_gpu("tf32-gpu", "training.tf32", on("training.tf32"), "tf32", "ValueError: --tf32 requires Ampere"),
    *(
        _needs_gpu(
            f"activation-offloading-gpu-{method}",
            f"{method}.activationOffloading",
            on(f"{method}.activationOffloading"),
            "activationOffloading",
            "RuntimeError: no CUDA device to offload from",
        )
        for method in ("dpo", "sft", "kto", "reward")
    ),
    *(
        _needs_gpu(
            f"attention-gpu-{name}",
            path,
            f"{has(path)} && (self.{path}.startsWith('flash_attention') || self.{path} == 'flex_attention')",
            "this attention",
            "flash attention has no CPU kernel, flex attention no CPU backward",
        )
        for name, path in (("policy", "model.attnImplementation"),)
    ),
    _needs_gpu(
        "nccl-gpu",
        "training.ddpBackend",
        f"{get('training.ddpBackend', chr(39) * 2)} == 'nccl'",
        "nccl",
        "ValueError: nccl is not for CPU tensors",
    ),
]

MEMORY_RULES = [
    Rule(
        "checkpointing-twice",
        f"!({has('training.gradientCheckpointing')} && {has('training.activationCheckpointing')})",
        "two names of one switch: remove gradientCheckpointing",
        "training.gradientCheckpointing",
        "transformers takes activationCheckpointing and ignores the other",
    ),
    Rule(
        "checkpointing-kwargs-twice",
        f"!({has('training.gradientCheckpointingKwargs')} && {has('training.activationCheckpointingKwargs')})",
        "two names of one map: remove gradientCheckpointingKwargs",
        "training.gradientCheckpointingKwargs",
        "transformers takes activationCheckpointingKwargs and ignores the other",
    ),
    Rule(
        "fused-linear-cross-entropy",
        when(
            f"{on('training.useLigerKernel')} && {has('training.ligerKernelConfig')} && "
            "(has(self.dpo) || has(self.sft) || has(self.kto)) && "
            "'fused_linear_cross_entropy' in self.training.ligerKernelConfig",
            "!self.training.ligerKernelConfig['fused_linear_cross_entropy']",
        ),
        "fused_linear_cross_entropy replaces the forward that TRL patches: remove it",
        "training.ligerKernelConfig",
        'ValueError: `liger_kernel_config={"fused_linear_cross_entropy": True}` is not supported',
    ),
]

SHARDING_RULES = [
    Rule(
        "fsdp-or-deepspeed",
        f"!({has('training.fsdp')} && {has('training.deepspeed')})",
        "fsdp and deepspeed exclude each other: remove one",
        "training.fsdp",
        "ValueError: Using --fsdp xxx together with --deepspeed is not possible",
    ),
    Rule(
        "fsdp-processes",
        when(has("training.fsdp"), f"self.nodes * {PROCESSES} > 1"),
        "fsdp shards over several processes: set nodes or gpusPerNode above 1, or remove fsdp",
        "training.fsdp",
        "ValueError: Using fsdp only works in distributed training",
    ),
    Rule(
        "fsdp-checkpointing",
        when(f"{has('training.fsdp')} && {on('training.fsdpConfig.activation_checkpointing')}", f"!{_CHECKPOINTS}"),
        "FSDP's own activation checkpointing excludes TRL's, which is on by default: set gradientCheckpointing: false",
        "training.gradientCheckpointing",
        "ValueError: `fsdp_config['activation_checkpointing']` (...) and the `activation_checkpointing` training "
        "argument can't both be set to True",
    ),
    Rule(
        "deepspeed-json",
        when(has("training.deepspeed"), "self.training.deepspeed.matches('^[ \\\\t\\\\n]*[{]')"),
        "must be the JSON text of a DeepSpeed configuration (an object), not a path",
        "training.deepspeed",
        "TRL takes any other text for the path of a file, which no pod has",
    ),
]

HARDWARE_RULES = [*PRECISION_RULES, *MEMORY_RULES, *SHARDING_RULES]
