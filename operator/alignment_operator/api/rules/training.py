"""Rules about training arguments."""

from alignment_operator.api.rules.rule import (
    EVALUATES,
    FORBIDDEN,
    PROCESSES,
    REQUIRED,
    STREAMING,
    Rule,
    get,
    has,
    on,
    when,
)

__all__ = ["TRAINING_RULES"]

_STEPS = "'steps'"
_NO = "'no'"
_SAVE = get("training.saveStrategy", _STEPS)
_EVAL = get("training.evalStrategy", _NO)
_SAVE_STEPS = get("training.saveSteps", "500.0")
# Unset (or 0), TRL takes loggingSteps, whose default in TRL is 10.
_EVAL_STEPS = (
    f"({has('training.evalSteps')} && self.training.evalSteps > 0.0 ? self.training.evalSteps : "
    f"{get('training.loggingSteps', '10.0')})"
)
_BEST = f"({on('training.loadBestModelAtEnd')} && {_SAVE} != 'best')"


def _whole(field: str, strategy: str, default: str) -> Rule:
    value = f"self.training.{field}"
    return Rule(
        f"whole-{field}",
        when(
            f"{has(f'training.{field}')} && {get(f'training.{strategy}', default)} == 'steps' && {value} > 1.0",
            f"double(int({value})) == {value}",
        ),
        "above 1 it counts steps: set a whole number, or a share between 0 and 1",
        f"training.{field}",
        f"ValueError: --{field} must be an integer if bigger than 1",
    )


def _needs_workers(field: str, why: str, value: str = "") -> Rule:
    return Rule(
        f"needs-workers-{field}",
        when(value or has(f"training.{field}"), f"{get('training.dataloaderNumWorkers', '0')} > 0"),
        "needs worker processes: set dataloaderNumWorkers to at least 1, or remove it",
        f"training.{field}",
        why,
    )


def _needs_gpu(rule: str, path: str, value: str, what: str, why: str) -> Rule:
    return Rule(
        rule, when(value, "self.gpusPerNode > 0"), f"{what} needs a GPU: set gpusPerNode, or remove it", path, why
    )


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

STEP_RULES = [
    Rule(
        "max-steps",
        when(has("training.maxSteps"), "self.training.maxSteps != 0"),
        "0 is no number of steps: set at least 1, or remove it and set numTrainEpochs",
        "training.maxSteps",
        "TRL trains one step and stops, one step of zero",
    ),
    Rule(
        "logging-steps",
        when(
            f"{get('training.loggingStrategy', _STEPS)} == 'steps' && {has('training.loggingSteps')}",
            "self.training.loggingSteps > 0.0",
        ),
        "must be above 0, or set loggingStrategy: 'no' (quoted)",
        "training.loggingSteps",
        "ValueError: logging strategy steps requires non-zero --logging_steps",
    ),
    _whole("loggingSteps", "loggingStrategy", _STEPS),
    _whole("saveSteps", "saveStrategy", _STEPS),
    _whole("evalSteps", "evalStrategy", _NO),
    Rule(
        "save-steps",
        when(f"{_SAVE} == 'steps' && {has('training.saveSteps')}", "self.training.saveSteps > 0.0"),
        "must be above 0, or set saveStrategy: 'no' (quoted)",
        "training.saveSteps",
        "no checkpoint is ever written",
    ),
    Rule(
        "streaming-max-steps",
        when(STREAMING, f"{get('training.maxSteps', '-1')} > 0"),
        "a streamed dataset has no known length: set maxSteps",
        "training.maxSteps",
        "ValueError: The train_dataset does not implement __len__ ... max_steps has to be specified",
        REQUIRED,
    ),
]

BEST_MODEL_RULES = [
    Rule(
        "best-model-strategy",
        when(_BEST, f"{_EVAL} == {_SAVE}"),
        "loadBestModelAtEnd needs evalStrategy and saveStrategy to be the same (saveStrategy is steps if unset)",
        "training.loadBestModelAtEnd",
        "ValueError: --load_best_model_at_end requires the save and eval strategy to match",
    ),
    Rule(
        "best-model-steps",
        when(
            f"{_BEST} && {_EVAL} == 'steps' && {_SAVE} == 'steps' && {_EVAL_STEPS} > 0.0",
            f"({_EVAL_STEPS} < 1.0) == ({_SAVE_STEPS} < 1.0) && int({_SAVE_STEPS} * 1000000.0) % "
            f"int({_EVAL_STEPS} * 1000000.0) == 0",
        ),
        "loadBestModelAtEnd needs saveSteps (500 if unset) to be a multiple of evalSteps (loggingSteps if unset)",
        "training.saveSteps",
        "ValueError: --load_best_model_at_end requires the saving steps to be a round multiple of the evaluation steps",
    ),
    Rule(
        "save-best-metric",
        when(f"{_SAVE} == 'best' && !{on('training.loadBestModelAtEnd')}", has("training.metricForBestModel")),
        "saveStrategy best needs a metric: set metricForBestModel, for example loss",
        "training.metricForBestModel",
        "ValueError: `args.metric_for_best_model` must be provided when using 'best' save_strategy",
        REQUIRED,
    ),
    Rule(
        "save-best-eval",
        when(f"{_SAVE} == 'best'", EVALUATES),
        "saveStrategy best saves after an evaluation: set evalStrategy",
        "training.evalStrategy",
        "no checkpoint is ever written",
    ),
]

EVALUATION_RULES = [
    Rule(
        "plateau-eval",
        when(f"{get('training.lrSchedulerType', chr(39) * 2)} in ['reduce_lr_on_plateau', 'greedy']", EVALUATES),
        "reduce_lr_on_plateau and greedy follow an evaluation metric: set evalStrategy",
        "training.lrSchedulerType",
        "ValueError: lr_scheduler_type reduce_lr_on_plateau requires an eval strategy",
    ),
    Rule(
        "eval-on-start",
        when(on("training.evalOnStart"), EVALUATES),
        "evalOnStart needs an evaluation dataset: set evalStrategy",
        "training.evalOnStart",
        "ValueError: Trainer: evaluation requires an eval_dataset",
    ),
    Rule(
        "mixture-eval",
        when(f"{has('dataset.datasets')} && {EVALUATES}", has("dataset.testSplitSize")),
        "a mixture has no test split of its own: set testSplitSize, or turn evaluation off",
        "dataset.testSplitSize",
        "KeyError: 'test'",
        REQUIRED,
    ),
]

LOADER_RULES = [
    _needs_workers(
        "dataloaderPrefetchFactor",
        "ValueError: --dataloader_prefetch_factor can only be set when data is loaded in a ...",
    ),
    _needs_workers(
        "dataloaderPersistentWorkers",
        "ValueError: persistent_workers option needs num_workers > 0",
        on("training.dataloaderPersistentWorkers"),
    ),
    _needs_workers(
        "dataloaderMultiprocessingContext",
        "ValueError: multiprocessing_context can only be used with multi-process loading (num_workers > 0)",
    ),
    Rule(
        "sampling-rebalance",
        f"{get('training.trainSamplingStrategy', chr(39) * 2)} != 'batch_rebalance' || has(self.sft)",
        "batch_rebalance reads input_ids, which only sft has: set group_by_length",
        "training.trainSamplingStrategy",
        "ValueError: Can only automatically infer lengths for datasets whose items are dictionaries with",
    ),
]

OTHER_RULES = [
    Rule(
        "save-only-model",
        f"!{on('training.saveOnlyModel')}",
        "a checkpoint without optimizer state cannot be resumed: remove saveOnlyModel",
        "training.saveOnlyModel",
        "resumes with a fresh optimizer and schedule: other losses than the straight run",
        FORBIDDEN,
    ),
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
        "deepspeed-json",
        when(has("training.deepspeed"), "self.training.deepspeed.matches('^[ \\\\t\\\\n]*[{]')"),
        "must be the JSON text of a DeepSpeed configuration (an object), not a path",
        "training.deepspeed",
        "TRL takes any other text for the path of a file, which no pod has",
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
    Rule(
        "optimizer-targets",
        when(
            f"{get('training.optim', chr(39) * 2)}.startsWith('galore') || "
            f"{get('training.optim', chr(39) * 2)}.startsWith('apollo')",
            has("training.optimTargetModules"),
        ),
        "GaLore and APOLLO need to know which modules: set optimTargetModules, for example [all-linear]",
        "training.optimTargetModules",
        "ValueError: You need to define `optim_target_modules` to use GaLore/APOLLO optimizers",
        REQUIRED,
    ),
    Rule(
        "report-to-alone",
        when(
            f"{has('training.reportTo')} && size(self.training.reportTo) > 1",
            "!self.training.reportTo.exists(name, name == 'none' || name == 'all')",
        ),
        "none and all stand alone: remove them, or the others",
        "training.reportTo",
        "ValueError: none is not supported",
    ),
]

TRAINING_RULES = [
    *PRECISION_RULES,
    *STEP_RULES,
    *BEST_MODEL_RULES,
    *EVALUATION_RULES,
    *LOADER_RULES,
    *OTHER_RULES,
]
