"""What the generator knows about TRL's fields beyond their annotations: bounds, choices and owners.

A bound stands here only where a value outside it can never work; advice does not belong in a schema.
"""

from transformers.debug_utils import DebugOption
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

# The operator decides these, so a spec has no words for them.
OPERATOR_OWNED = {
    "output_dir": "spec.output",
    "run_name": "the name of the run",
    "resume_from_checkpoint": "every attempt resumes from the last complete checkpoint",
    "do_train": "read by scripts only",
    "do_eval": "spec.training.evalStrategy",
    "do_predict": "read by scripts only",
    "local_rank": "set by the launcher",
    "use_cpu": "spec.gpusPerNode: 0",
    "enable_jit_checkpoint": "the trainer handles SIGTERM itself",
    "disable_tqdm": "logs are lines",
    "push_to_hub": "spec.output.push",
    "hub_token": "spec.hub",
    "hub_private_repo": "spec.output.push.private",
    "hub_model_id": "spec.output.push.repository",
    "hub_strategy": "spec.output.push",
    "hub_always_push": "spec.output.push",
    "hub_revision": "spec.output.push",
}
# Not a value that YAML can hold: TrainingArguments wants an instance of an accelerate class.
NOT_WRITABLE = {"parallelism_config": "takes a Python object; TrlParser cannot make one from YAML"}
# One place for each decision: `spec.model`.
ON_MODEL = {"trust_remote_code": "spec.model.trustRemoteCode"}

# The part of ModelConfig that says how a frozen model is loaded.
REFERENCE_MODEL = [
    "model_name_or_path",
    "model_revision",
    "dtype",
    "attn_implementation",
    "load_in_8bit",
    "load_in_4bit",
    "bnb_4bit_quant_type",
    "use_bnb_nested_quant",
    "bnb_4bit_quant_storage",
]


def values(enum) -> list[str]:
    """Return the string values of an enum of transformers."""
    return [member.value for member in enum]


DPO_LOSSES = [
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]

# field, or Config.field where configs differ -> the values that it takes
CHOICES = {
    "lr_scheduler_type": values(SchedulerType),
    "optim": values(OptimizerNames),
    "logging_strategy": values(IntervalStrategy),
    "eval_strategy": values(IntervalStrategy),
    "save_strategy": values(SaveStrategy),
    "debug": values(DebugOption),
    "include_for_metrics": ["inputs", "loss"],
    "include_num_input_tokens_seen": ["all", "non_padding", "no"],
    "f_divergence_type": ["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"],
    "DPOConfig.loss_type": DPO_LOSSES,
    "bnb_4bit_quant_storage": ["float16", "float32", "int8", "uint8", "float64", "bfloat16"],
    "lora_task_type": ["CAUSAL_LM", "SEQ_CLS"],
}

_COUNT = {"ge": 1, "le": 2147483647}
_NATURAL = {"ge": 0, "le": 2147483647}
_POSITIVE = {"gt": 0}
_SHARE = {"ge": 0, "le": 1}
_NOT_NEGATIVE = {"ge": 0}
_BETA = {"ge": 0, "lt": 1}
_SEED = {"ge": 0, "le": 4294967295}  # numpy.random.seed's range

BOUNDS = {
    **dict.fromkeys(
        [
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "eval_accumulation_steps",
            "torch_empty_cache_steps",
            "save_total_limit",
            "dataloader_prefetch_factor",
            "ddp_bucket_cap_mb",
            "ddp_timeout",
            "lora_r",
            "lora_alpha",
            "dataset_num_proc",
            "precompute_ref_batch_size",
            "ref_model_sync_steps",
            "max_completion_length",
        ],
        _COUNT,
    ),
    "dataloader_num_workers": {"ge": 0, "le": 1024},
    "padding_value": _NATURAL,
    "max_steps": {"ge": -1, "le": 2147483647},
    "max_length": {"ge": -1, "le": 2147483647},
    **dict.fromkeys(["seed", "data_seed"], _SEED),
    **dict.fromkeys(["num_train_epochs", "adam_epsilon"], _POSITIVE),
    **dict.fromkeys(["lora_dropout", "label_smoothing_factor", "ld_alpha"], _SHARE),
    **dict.fromkeys(["label_smoothing", "ref_model_mixup_alpha"], _SHARE),
    **dict.fromkeys(["adam_beta1", "adam_beta2"], _BETA),
    **dict.fromkeys(
        [
            "learning_rate",
            "weight_decay",
            "max_grad_norm",
            "warmup_steps",
            "logging_steps",
            "eval_steps",
            "eval_delay",
            "save_steps",
            "router_aux_loss_coef",
            "beta",
            "desirable_weight",
            "undesirable_weight",
            "neftune_noise_alpha",
            "cpo_alpha",
            "center_rewards_coefficient",
        ],
        _NOT_NEGATIVE,
    ),
    "discopop_tau": _POSITIVE,
    "fraction": {"gt": 0, "le": 1},
    "test_split_size": _POSITIVE,
}

# Longest list, and longest string: everything that a rule may read is bounded.
LIST_LENGTH = {"loss_type": 15, "loss_weights": 15, "datasets": 32, "debug": 2, "include_for_metrics": 2}
DEFAULT_LIST_LENGTH = 64
TEXT_LENGTH = {"deepspeed": 16384, "optim_args": 1024}
DEFAULT_TEXT_LENGTH = 256
LONG_TEXT = [
    "name",
    "path",
    "dir",
    "dataset_config",
    "chat_template_path",
    "model_name_or_path",
    "revision",
]

# Union types of TRL that a structural schema cannot hold, and what stands in the spec instead (a Python annotation).
TYPES = {
    "lr_scheduler_kwargs": "LrSchedulerKwargs",
    "activation_checkpointing_kwargs": "CheckpointingKwargs",
    "gradient_checkpointing_kwargs": "CheckpointingKwargs",
    "fsdp_config": "FsdpConfig",
    "accelerator_config": "AcceleratorConfig",
    "model_init_kwargs": "ModelInitKwargs",
    "dataset_kwargs": "DatasetKwargs",
    "liger_kernel_config": "Annotated[dict[Short, bool], Field(max_length=32)]",
    "deepspeed": "str",
    "optim_target_modules": "list[str]",
    "report_to": "list[str]",
    "include_num_input_tokens_seen": "str",
    "trackio_static_space_id": "str",
    "pad_to_multiple_of": "IntOrString",
    "data_files": "list[str]",
    "debug": "list[str]",
    "lr_scheduler_type": "str",
    "optim": "str",
    "logging_strategy": "str",
    "eval_strategy": "str",
    "save_strategy": "str",
    "fsdp": "str",
}

# Fields whose `null` means something else than "unset" to TRL. The API server drops the null of any other field;
# nullable, it reaches the operator, which refuses it with the word to write instead.
NULL_HAS_A_MEANING = {"max_length"}
NULLABLE = {"nullable": True}

# Said in addition to TRL's help.
NOTES = {
    "max_length": "-1 is TRL's None: no truncation. null is refused.",
    "deepspeed": "JSON text of a DeepSpeed configuration.",
    "data_files": "A list of paths; TRL's single string is a list of one.",
    "gradient_checkpointing": "TRL's default is true.",
    "bf16": "TRL's default is true, unless fp16 is set.",
    "lora_task_type": "Unset, a reward job uses SEQ_CLS.",
    "trackio_static_space_id": "TRL's `false` (no static space) has no word here: leave it unset.",
}
