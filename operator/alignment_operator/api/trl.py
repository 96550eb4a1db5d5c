"""GENERATED from TRL 1.16.0 and transformers 5.23.0 by `make generate`. Do not edit.

One model per TRL configuration class. Every field is optional and unset by default, so that TRL's own defaults apply.
`CAMEL` holds the API's name of every TRL field; `SNAKE` is its inverse.
"""

# ruff: noqa: E501
from typing import Annotated, Literal

from pydantic import Field

from alignment_operator.api.maps import (
    AcceleratorConfig,
    CheckpointingKwargs,
    DatasetKwargs,
    FsdpConfig,
    LrSchedulerKwargs,
    ModelInitKwargs,
)
from alignment_operator.api.schema import IntOrString, Number, Section, Short

TRL_VERSION = "1.16.0"
TRANSFORMERS_VERSION = "5.23.0"


class Model(Section):
    """TRL's ModelConfig."""

    model_name_or_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, alias="modelNameOrPath", description="Model checkpoint for weights initialization."
    )
    model_revision: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="modelRevision",
        description="Specific model version to use. It can be a branch name, a tag name, or a commit id.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = Field(
        None,
        alias="dtype",
        description="Override the default `torch.dtype` and load the model under this dtype. It defaults to `'float32'`.",
    )
    attn_implementation: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="attnImplementation",
        description="Which attention implementation to use. You can run `--attn_implementation=flash_attention_2`, in which case you must install this manually by running `pip install flash-attn --no-build-isolation`.",
    )
    use_peft: bool | None = Field(None, alias="usePeft", description="Whether to use PEFT for training.")
    lora_r: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(None, alias="loraR", description="LoRA R value.")
    lora_alpha: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="loraAlpha", description="LoRA alpha."
    )
    lora_dropout: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, alias="loraDropout", description="LoRA dropout."
    )
    lora_target_modules: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(None, alias="loraTargetModules", description="LoRA target modules.")
    lora_target_parameters: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(None, alias="loraTargetParameters", description="List of target parameters for LoRA.")
    lora_modules_to_save: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(None, alias="loraModulesToSave", description="Model layers to unfreeze & train.")
    lora_task_type: Literal["CAUSAL_LM", "SEQ_CLS"] | None = Field(
        None,
        alias="loraTaskType",
        description="Task type to pass for LoRA (use 'SEQ_CLS' for reward modeling). Unset, a reward job uses SEQ_CLS.",
    )
    use_rslora: bool | None = Field(
        None,
        alias="useRslora",
        description="Whether to use Rank-Stabilized LoRA, which sets the adapter scaling factor to `lora_alpha/√r`, instead of the original default value of `lora_alpha/r`.",
    )
    use_dora: bool | None = Field(
        None,
        alias="useDora",
        description="Enable Weight-Decomposed Low-Rank Adaptation (DoRA). This technique decomposes the updates of the weights into two parts, magnitude and direction. Direction is handled by normal LoRA, whereas the magnitude is handled by a separate learnable parameter. This can improve the performance of LoRA, especially at low ranks. Right now, DoRA only supports linear and Conv2D layers. DoRA introduces a bigger overhead than pure LoRA, so it is recommended to merge weights for inference.",
    )
    load_in_8bit: bool | None = Field(
        None, alias="loadIn8bit", description="Whether to use 8 bit precision for the base model. Works only with LoRA."
    )
    load_in_4bit: bool | None = Field(
        None, alias="loadIn4bit", description="Whether to use 4 bit precision for the base model. Works only with LoRA."
    )
    bnb_4bit_quant_type: Literal["fp4", "nf4"] | None = Field(
        None, alias="bnb4bitQuantType", description="Quantization type."
    )
    use_bnb_nested_quant: bool | None = Field(
        None, alias="useBnbNestedQuant", description="Whether to use nested quantization."
    )
    bnb_4bit_quant_storage: Literal["float16", "float32", "int8", "uint8", "float64", "bfloat16"] | None = Field(
        None, alias="bnb4bitQuantStorage", description="Quantization storage dtype"
    )


class ReferenceModelConfig(Section):
    """TRL's ModelConfig, in part."""

    model_name_or_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, alias="modelNameOrPath", description="Model checkpoint for weights initialization."
    )
    model_revision: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="modelRevision",
        description="Specific model version to use. It can be a branch name, a tag name, or a commit id.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = Field(
        None,
        alias="dtype",
        description="Override the default `torch.dtype` and load the model under this dtype. It defaults to `'float32'`.",
    )
    attn_implementation: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="attnImplementation",
        description="Which attention implementation to use. You can run `--attn_implementation=flash_attention_2`, in which case you must install this manually by running `pip install flash-attn --no-build-isolation`.",
    )
    load_in_8bit: bool | None = Field(
        None, alias="loadIn8bit", description="Whether to use 8 bit precision for the base model. Works only with LoRA."
    )
    load_in_4bit: bool | None = Field(
        None, alias="loadIn4bit", description="Whether to use 4 bit precision for the base model. Works only with LoRA."
    )
    bnb_4bit_quant_type: Literal["fp4", "nf4"] | None = Field(
        None, alias="bnb4bitQuantType", description="Quantization type."
    )
    use_bnb_nested_quant: bool | None = Field(
        None, alias="useBnbNestedQuant", description="Whether to use nested quantization."
    )
    bnb_4bit_quant_storage: Literal["float16", "float32", "int8", "uint8", "float64", "bfloat16"] | None = Field(
        None, alias="bnb4bitQuantStorage", description="Quantization storage dtype"
    )


class Dataset(Section):
    """TRL's ScriptArguments."""

    dataset_name: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="datasetName",
        description="Path or name of the dataset to load. If `datasets` is provided, this will be ignored.",
    )
    dataset_config: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="datasetConfig",
        description="Dataset configuration name. Corresponds to the `name` argument of the `datasets.load_dataset` function. If `datasets` is provided, this will be ignored.",
    )
    dataset_train_split: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="datasetTrainSplit",
        description="Dataset split to use for training. If `datasets` is provided, this will be ignored.",
    )
    dataset_test_split: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="datasetTestSplit",
        description="Dataset split to use for evaluation. If `datasets` is provided, this will be ignored.",
    )
    dataset_streaming: bool | None = Field(
        None,
        alias="datasetStreaming",
        description="Whether to stream the dataset. If True, the dataset will be loaded in streaming mode. If `datasets` is provided, this will be ignored.",
    )
    ignore_bias_buffers: bool | None = Field(
        None,
        alias="ignoreBiasBuffers",
        description="Debug argument for distributed training. Fix for DDP issues with LM bias/mask buffers - invalid scalar type, inplace operation. See https://github.com/huggingface/transformers/issues/22482#issuecomment-1595790992.",
    )


class MixtureDataset(Section):
    """TRL's DatasetConfig."""

    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, alias="path", description="Path or name of the dataset."
    )
    name: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, alias="name", description="Defining the name of the dataset configuration."
    )
    data_dir: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="dataDir",
        description="Defining the `data_dir` of the dataset configuration. If specified for the generic builders(csv, text etc.) or the Hub datasets and `data_files` is `None`, the behavior is equal to passing `os.path.join(data_dir, **)` as `data_files` to reference all the files in a directory.",
    )
    data_files: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(
        None,
        alias="dataFiles",
        description="Path(s) to source data file(s). A list of paths; TRL's single string is a list of one.",
    )
    split: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, alias="split", description="Which split of the data to load."
    )
    columns: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(
        None,
        alias="columns",
        description="List of column names to select from the dataset. If `None`, all columns are selected.",
    )
    fraction: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None,
        alias="fraction",
        description="Target share of this dataset in the final mixture. Fractions are normalized to sum to one across all datasets, and the mixture size is capped so that no dataset is oversampled: the first `round(fraction * N)` rows of each dataset are kept, where `N` is the largest mixture size that avoids oversampling. Must be set for either all datasets in the mixture or none of them. Not supported for streaming datasets. When unset, the full datasets are concatenated.",
    )


class Mixture(Section):
    """TRL's DatasetMixtureConfig."""

    datasets: Annotated[list[MixtureDataset], Field(min_length=1, max_length=32)] | None = Field(
        None, alias="datasets", description="List of dataset configurations to include in the mixture."
    )
    streaming: bool | None = Field(
        None,
        alias="streaming",
        description="Whether to stream the datasets. If True, the datasets will be loaded in streaming mode.",
    )
    test_split_size: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        alias="testSplitSize",
        description="Size of the test split. Refer to the `test_size` parameter in the `datasets.train_test_split` function for more details. If None, the dataset will not be split into train and test sets.",
    )


class Training(Section):
    """TRL's TrainingArguments."""

    per_device_train_batch_size: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="perDeviceTrainBatchSize", description="The batch size per device for training."
    )
    num_train_epochs: Annotated[Number, Field(gt=0)] | None = Field(
        None, alias="numTrainEpochs", description="Total number of training epochs to perform."
    )
    max_steps: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxSteps",
        description="Overrides `num_train_epochs`. If set to a positive number, the total number of training steps to perform. Must be set when the training dataset does not implement `__len__` (e.g. a streaming dataset).",
    )
    learning_rate: Annotated[Number, Field(ge=0)] | None = Field(
        None, alias="learningRate", description="The initial learning rate for the optimizer."
    )
    lr_scheduler_type: (
        Literal[
            "linear",
            "cosine",
            "cosine_with_restarts",
            "polynomial",
            "constant",
            "constant_with_warmup",
            "inverse_sqrt",
            "reduce_lr_on_plateau",
            "cosine_with_min_lr",
            "cosine_warmup_with_min_lr",
            "warmup_stable_decay",
            "greedy",
        ]
        | None
    ) = Field(
        None,
        alias="lrSchedulerType",
        description="The learning rate scheduler type to use. See `SchedulerType` for all possible values.",
    )
    lr_scheduler_kwargs: LrSchedulerKwargs | None = Field(
        None,
        alias="lrSchedulerKwargs",
        description="The extra arguments for the lr_scheduler. See the documentation of each scheduler for possible values.",
    )
    warmup_steps: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="warmupSteps",
        description="Number of steps for a linear warmup from 0 to `learning_rate`. Can be an integer (exact steps) or a float in [0, 1) (ratio of total steps).",
    )
    optim: (
        Literal[
            "adamw_torch",
            "adamw_torch_fused",
            "adamw_torch_xla",
            "adamw_torch_npu_fused",
            "adafactor",
            "adamw_anyprecision",
            "adamw_torch_4bit",
            "adamw_torch_8bit",
            "ademamix",
            "sgd",
            "adagrad",
            "adamw_bnb_8bit",
            "adamw_8bit",
            "ademamix_8bit",
            "lion_8bit",
            "lion_32bit",
            "paged_adamw_32bit",
            "paged_adamw_8bit",
            "paged_ademamix_32bit",
            "paged_ademamix_8bit",
            "paged_lion_32bit",
            "paged_lion_8bit",
            "rmsprop",
            "rmsprop_bnb",
            "rmsprop_bnb_8bit",
            "rmsprop_bnb_32bit",
            "galore_adamw",
            "galore_adamw_8bit",
            "galore_adafactor",
            "galore_adamw_layerwise",
            "galore_adamw_8bit_layerwise",
            "galore_adafactor_layerwise",
            "lomo",
            "adalomo",
            "grokadamw",
            "schedule_free_radam",
            "schedule_free_adamw",
            "schedule_free_sgd",
            "apollo_adamw",
            "apollo_adamw_layerwise",
            "stable_adamw",
        ]
        | None
    ) = Field(None, alias="optim", description="The optimizer to use. See `OptimizerNames` for the complete list.")
    optim_args: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="optimArgs",
        description="Optional arguments supplied to optimizers such as AnyPrecisionAdamW, AdEMAMix, and GaLore.",
    )
    weight_decay: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="weightDecay",
        description="Weight decay coefficient applied by the optimizer. Automatically excluded from bias and LayerNorm parameters.",
    )
    adam_beta1: Annotated[Number, Field(ge=0, lt=1)] | None = Field(
        None,
        alias="adamBeta1",
        description="The exponential decay rate for the first moment estimates (momentum) in Adam-based optimizers.",
    )
    adam_beta2: Annotated[Number, Field(ge=0, lt=1)] | None = Field(
        None,
        alias="adamBeta2",
        description="The exponential decay rate for the second moment estimates (variance) in Adam-based optimizers.",
    )
    adam_epsilon: Annotated[Number, Field(gt=0)] | None = Field(
        None, alias="adamEpsilon", description="Epsilon value for numerical stability in Adam-based optimizers."
    )
    optim_target_modules: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(
        None,
        alias="optimTargetModules",
        description="The target modules to optimize. Currently used for the GaLore and APOLLO algorithms.",
    )
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="gradientAccumulationSteps",
        description="Number of update steps to accumulate gradients before performing a backward/update pass. Effective batch size = per_device_train_batch_size * num_devices * gradient_accumulation_steps.",
    )
    average_tokens_across_devices: bool | None = Field(
        None,
        alias="averageTokensAcrossDevices",
        description="Whether or not to average tokens across devices. If enabled, will use all_reduce to synchronize num_tokens_in_batch for precise loss calculation. Reference: https://github.com/huggingface/transformers/issues/34242",
    )
    max_grad_norm: Annotated[Number, Field(ge=0)] | None = Field(
        None, alias="maxGradNorm", description="Maximum gradient norm for gradient clipping. Set to 0 to disable."
    )
    label_smoothing_factor: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        alias="labelSmoothingFactor",
        description="Label smoothing factor to prevent overconfidence. Zero means no smoothing.",
    )
    bf16: bool | None = Field(
        None,
        alias="bf16",
        description="Enable bfloat16 (BF16) mixed precision training. Generally preferred over FP16 due to better numerical stability. TRL's default is true, unless fp16 is set.",
    )
    fp16: bool | None = Field(
        None,
        alias="fp16",
        description="Enable float16 (FP16) mixed precision training. Consider using BF16 instead if your hardware supports it.",
    )
    bf16_full_eval: bool | None = Field(
        None,
        alias="bf16FullEval",
        description="Use full BF16 precision for evaluation (not just mixed precision). Faster and saves memory.",
    )
    fp16_full_eval: bool | None = Field(
        None,
        alias="fp16FullEval",
        description="Use full FP16 precision for evaluation (not just mixed precision). Faster and saves memory.",
    )
    tf32: bool | None = Field(
        None,
        alias="tf32",
        description="Enable TF32 mode on Ampere and newer GPUs. Provides up to 8x speedup with negligible accuracy loss.",
    )
    activation_checkpointing: bool | None = Field(
        None,
        alias="activationCheckpointing",
        description="Enable activation checkpointing to trade compute for memory. Reduces memory at the cost of ~20%% slower training.",
    )
    activation_checkpointing_kwargs: CheckpointingKwargs | None = Field(
        None,
        alias="activationCheckpointingKwargs",
        description="Keyword arguments passed to `activation_checkpointing_enable()`. `every_n_layers` checkpoints only every n-th decoder layer instead of all of them; `1` is the usual all-or-nothing behavior, and larger values give some memory back to speed. `offload` holds the saved activations in pinned host memory, which frees device memory and makes the step slower. Any other key is forwarded to `torch.utils.checkpoint.checkpoint`.",
    )
    gradient_checkpointing: bool | None = Field(
        None,
        alias="gradientCheckpointing",
        description="Deprecated alias of `activation_checkpointing`, will be removed in v6. TRL's default is true.",
    )
    gradient_checkpointing_kwargs: CheckpointingKwargs | None = Field(
        None,
        alias="gradientCheckpointingKwargs",
        description="Deprecated alias of `activation_checkpointing_kwargs`, will be removed in v6.",
    )
    torch_compile: bool | None = Field(
        None, alias="torchCompile", description="Compile the model using `torch.compile()` for faster training."
    )
    torch_compile_backend: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="torchCompileBackend",
        description="Backend for `torch.compile()`. If set, automatically enables `torch_compile`.",
    )
    torch_compile_mode: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="torchCompileMode",
        description="Compilation mode for `torch.compile()`. If set, automatically enables `torch_compile`.",
    )
    use_liger_kernel: bool | None = Field(
        None,
        alias="useLigerKernel",
        description="Enable Liger Kernel optimizations. Increases throughput by ~20%% and reduces memory by ~60%%.",
    )
    liger_kernel_config: Annotated[dict[Short, bool], Field(max_length=32)] | None = Field(
        None,
        alias="ligerKernelConfig",
        description="Configuration for Liger Kernel. Passed as kwargs to `_apply_liger_kernel_to_instance()`. If None, uses default configuration.",
    )
    use_cache: bool | None = Field(
        None,
        alias="useCache",
        description="Whether or not to use cache for the model For training, this is usually not needed apart from some PEFT methods that uses `past_key_values`.",
    )
    neftune_noise_alpha: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="neftuneNoiseAlpha",
        description="If not None, activates NEFTune noise embeddings. Can drastically improve performance for instruction fine-tuning. Typical range: [5.0, 15.0].",
    )
    torch_empty_cache_steps: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="torchEmptyCacheSteps",
        description="Number of steps to wait before calling `torch.<device>.empty_cache()`. Helps avoid CUDA OOM at a cost of ~10%% slower performance. If None, cache will not be emptied.",
    )
    auto_find_batch_size: bool | None = Field(
        None,
        alias="autoFindBatchSize",
        description="Whether to find a training batch size that will fit into memory automatically through exponential decay, avoiding CUDA Out-of-Memory errors. The evaluation batch size is not adjusted.",
    )
    logging_strategy: Literal["no", "steps", "epoch"] | None = Field(
        None,
        alias="loggingStrategy",
        description="The logging strategy to adopt during training. Options: 'no', 'epoch', 'steps'.",
    )
    logging_steps: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="loggingSteps",
        description="Log every X updates steps. Should be an integer or a float in range `[0,1)`. If smaller than 1, will be interpreted as ratio of total training steps.",
    )
    logging_first_step: bool | None = Field(
        None, alias="loggingFirstStep", description="Whether to log the first `global_step` or not."
    )
    log_on_each_node: bool | None = Field(
        None,
        alias="logOnEachNode",
        description="When doing a multinode distributed training, whether to log once per node or just once on the main node.",
    )
    logging_nan_inf_filter: bool | None = Field(
        None,
        alias="loggingNanInfFilter",
        description="Filter out NaN and Inf training and evaluation losses when logging. Does not affect gradient computation, only logging.",
    )
    include_num_input_tokens_seen: Literal["all", "non_padding", "no"] | None = Field(
        None,
        alias="includeNumInputTokensSeen",
        description="Whether to track the number of input tokens seen. Must be one of [`all`, `non_padding`, `no`] or a boolean value which map to `all` or `no`",
    )
    log_level: Literal["detail", "debug", "info", "warning", "error", "critical", "passive"] | None = Field(
        None,
        alias="logLevel",
        description="Logging level for the main process. Options: 'debug', 'info', 'warning', 'error', 'critical', 'passive'.",
    )
    log_level_replica: Literal["detail", "debug", "info", "warning", "error", "critical", "passive"] | None = Field(
        None,
        alias="logLevelReplica",
        description="Logging level for replica processes in distributed training. Same options as `log_level`.",
    )
    report_to: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)] | None
    ) = Field(
        None,
        alias="reportTo",
        description="The list of integrations to report the results and logs to. Use 'all' for all installed integrations, 'none' for no integrations.",
    )
    project: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="project",
        description="The name of the project to use for logging. Currently, only used by Trackio.",
    )
    trackio_space_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="trackioSpaceId",
        description="Hugging Face Space id for live Gradio-based Trackio logging (read/write Bucket access). Use 'username/reponame', 'orgname/reponame', or 'reponame' (current user's namespace). None: log only locally, no Space. Prefer trackio_static_space_id for stable post-training dashboard links. Public unless hub_private_repo=True or org default.",
    )
    trackio_bucket_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="trackioBucketId",
        description="Optional HF Bucket id when using a Trackio Space; if unset, Trackio picks a default.",
    )
    trackio_static_space_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="trackioStaticSpaceId",
        description="Static read-only Trackio Space over the Bucket (stable model-card links). False: no static sync on Hub push and no freeze after training. None/str: allow static Space; for local-only logging, Hub push runs sync(static); after training, freeze runs only if trackio_space_id was set (Gradio Space). str sets explicit static Space id. Public unless hub_private_repo=True or org default. TRL's `false` (no static space) has no word here: leave it unset.",
    )
    eval_strategy: Literal["no", "steps", "epoch"] | None = Field(
        None, alias="evalStrategy", description="When to run evaluation. Options: 'no', 'steps', 'epoch'."
    )
    eval_steps: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="evalSteps",
        description="Number of update steps between evaluations if `eval_strategy='steps'`. Defaults to `logging_steps` if not set. Should be an integer or a float in range `[0,1)`. If smaller than 1, will be interpreted as ratio of total training steps.",
    )
    eval_delay: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="evalDelay",
        description="Number of epochs or steps to wait for before the first evaluation can be performed, depending on the eval_strategy.",
    )
    per_device_eval_batch_size: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="perDeviceEvalBatchSize", description="The batch size per device (GPU/TPU core/CPU) for evaluation."
    )
    prediction_loss_only: bool | None = Field(
        None,
        alias="predictionLossOnly",
        description="When performing evaluation and generating predictions, only returns the loss.",
    )
    eval_on_start: bool | None = Field(
        None,
        alias="evalOnStart",
        description="Whether to run through the entire `evaluation` step at the very beginning of training as a sanity check.",
    )
    eval_do_concat_batches: bool | None = Field(
        None,
        alias="evalDoConcatBatches",
        description="Whether to recursively concat inputs/losses/labels/predictions across batches. If `False`, will instead store them as lists, with each batch kept separate.",
    )
    eval_use_gather_object: bool | None = Field(
        None,
        alias="evalUseGatherObject",
        description="Whether to run recursively gather object in a nested list/tuple/dictionary of objects from all devices.",
    )
    eval_accumulation_steps: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="evalAccumulationSteps",
        description="Number of predictions steps to accumulate the output tensors for, before moving the results to the CPU. If unset, predictions are accumulated on the accelerator before being moved to the CPU.",
    )
    include_for_metrics: Annotated[list[Literal["inputs", "loss"]], Field(min_length=1, max_length=2)] | None = Field(
        None,
        alias="includeForMetrics",
        description="Include additional data in the `compute_metrics` function. Options: 'inputs', 'loss'.",
    )
    batch_eval_metrics: bool | None = Field(
        None, alias="batchEvalMetrics", description="Break eval metrics calculation into batches to save memory."
    )
    save_only_model: bool | None = Field(
        None,
        alias="saveOnlyModel",
        description="Save only model weights, not optimizer/scheduler/RNG state. Prevents resuming training from checkpoint.",
    )
    save_strategy: Literal["no", "steps", "epoch", "best"] | None = Field(
        None,
        alias="saveStrategy",
        description="The checkpoint save strategy to adopt during training. Options: 'no', 'epoch', 'steps', 'best'.",
    )
    save_steps: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="saveSteps",
        description="Save checkpoint every X updates steps. Should be an integer or a float in range `[0,1)`. If smaller than 1, will be interpreted as ratio of total training steps.",
    )
    save_on_each_node: bool | None = Field(
        None,
        alias="saveOnEachNode",
        description="When doing multi-node distributed training, whether to save models and checkpoints on each node, or only on the main one",
    )
    save_total_limit: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="saveTotalLimit",
        description="Maximum number of checkpoints to keep. Deletes older checkpoints in `output_dir`. The best checkpoint is always retained when `load_best_model_at_end=True`.",
    )
    load_best_model_at_end: bool | None = Field(
        None,
        alias="loadBestModelAtEnd",
        description="Load the best checkpoint at the end of training. Requires `eval_strategy` to be set.",
    )
    metric_for_best_model: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="metricForBestModel",
        description="Metric to use for comparing models when `load_best_model_at_end=True`. Defaults to 'loss'.",
    )
    greater_is_better: bool | None = Field(
        None,
        alias="greaterIsBetter",
        description="Whether higher metric values are better. Defaults based on `metric_for_best_model`.",
    )
    ignore_data_skip: bool | None = Field(
        None,
        alias="ignoreDataSkip",
        description="When resuming training, skip fast-forwarding through the dataset to reach the previous state. If True, training starts from the beginning of the dataset.",
    )
    restore_callback_states_from_checkpoint: bool | None = Field(
        None,
        alias="restoreCallbackStatesFromCheckpoint",
        description="Whether to restore the callback states from the checkpoint. If `True`, will override callbacks passed to the `Trainer` if they exist in the checkpoint.",
    )
    full_determinism: bool | None = Field(
        None,
        alias="fullDeterminism",
        description="Whether to call enable_full_determinism instead of set_seed for reproducibility in distributed training. Important: this will negatively impact the performance, so only use it for debugging.",
    )
    seed: Annotated[int, Field(ge=0, le=4294967295)] | None = Field(
        None, alias="seed", description="Random seed that will be set at the beginning of training."
    )
    data_seed: Annotated[int, Field(ge=0, le=4294967295)] | None = Field(
        None,
        alias="dataSeed",
        description="Random seed to be used with data samplers. If not set, uses the same seed as `seed`.",
    )
    accelerator_config: AcceleratorConfig | None = Field(
        None,
        alias="acceleratorConfig",
        description="Configuration for the internal Accelerate integration. Can be a path to a JSON config file or a dict.",
    )
    dataloader_drop_last: bool | None = Field(
        None,
        alias="dataloaderDropLast",
        description="Drop the last incomplete batch if it is not divisible by the batch size.",
    )
    dataloader_num_workers: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        None,
        alias="dataloaderNumWorkers",
        description="Number of subprocesses to use for data loading (PyTorch only). 0 means that the data will be loaded in the main process.",
    )
    dataloader_pin_memory: bool | None = Field(
        None, alias="dataloaderPinMemory", description="Whether or not to pin memory for DataLoader."
    )
    dataloader_persistent_workers: bool | None = Field(
        None,
        alias="dataloaderPersistentWorkers",
        description="If True, the data loader will not shut down the worker processes after a dataset has been consumed once. This allows to maintain the workers Dataset instances alive. Can potentially speed up training, but will increase RAM usage.",
    )
    dataloader_prefetch_factor: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="dataloaderPrefetchFactor",
        description="Number of batches loaded in advance by each worker. 2 means there will be a total of 2 * num_workers batches prefetched across all workers.",
    )
    dataloader_multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None = Field(
        None,
        alias="dataloaderMultiprocessingContext",
        description="The multiprocessing start method to use for data loading workers ('fork', 'spawn', or 'forkserver'). Defaults to PyTorch's default, except on MPS with dataloader_num_workers > 1, where it defaults to 'fork'. Use 'spawn' when streaming from sources whose objects are not fork-safe (e.g. HDFS via pyarrow). Under 'spawn', any custom collate_fn / dataset code must be importable at module level (no lambdas/closures).",
    )
    dataloader_in_order: bool | None = Field(
        None,
        alias="dataloaderInOrder",
        description="If True (default), the data loader yields batches in the order workers were dispatched. Set to False to yield batches as soon as they are ready, reducing tail latency for IterableDataset streaming workloads. Requires PyTorch >= 2.6.",
    )
    remove_unused_columns: bool | None = Field(
        None,
        alias="removeUnusedColumns",
        description="Whether or not to automatically remove the columns unused by the model forward method.",
    )
    label_names: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], Field(min_length=1, max_length=64)] | None
    ) = Field(
        None,
        alias="labelNames",
        description="The list of keys in your dictionary of inputs that correspond to the labels.",
    )
    train_sampling_strategy: Literal["random", "sequential", "group_by_length", "batch_rebalance"] | None = Field(
        None,
        alias="trainSamplingStrategy",
        description="Sampler for training: 'random' (default), 'sequential', 'group_by_length', or 'batch_rebalance'.",
    )
    length_column_name: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="lengthColumnName",
        description="Column name for precomputed lengths. Ignored unless `train_sampling_strategy` is 'group_by_length' or 'batch_rebalance'.",
    )
    ddp_find_unused_parameters: bool | None = Field(
        None,
        alias="ddpFindUnusedParameters",
        description="When using distributed training, the value of the flag `find_unused_parameters` passed to `DistributedDataParallel`.",
    )
    ddp_bucket_cap_mb: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="ddpBucketCapMb",
        description="When using distributed training, the value of the flag `bucket_cap_mb` passed to `DistributedDataParallel`.",
    )
    ddp_broadcast_buffers: bool | None = Field(
        None,
        alias="ddpBroadcastBuffers",
        description="When using distributed training, the value of the flag `broadcast_buffers` passed to `DistributedDataParallel`.",
    )
    ddp_static_graph: bool | None = Field(
        None,
        alias="ddpStaticGraph",
        description="When using distributed training, the value of the flag `static_graph` passed to `DistributedDataParallel`.",
    )
    ddp_backend: Literal["nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl"] | None = Field(
        None,
        alias="ddpBackend",
        description="The backend to use for distributed training. Must be one of 'nccl', 'mpi', 'xccl', 'gloo', 'hccl'.",
    )
    ddp_timeout: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="ddpTimeout",
        description="The timeout for `torch.distributed.init_process_group` calls (in seconds).",
    )
    fsdp: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="fsdp",
        description="Enable PyTorch Fully Sharded Data Parallel (FSDP) for distributed training. Pass `--fsdp` (or `fsdp=True`) to turn FSDP on.",
    )
    fsdp_config: FsdpConfig | None = Field(
        None,
        alias="fsdpConfig",
        description="Tuning for FSDP (used only when `fsdp` is enabled). Either a path to a JSON config file (e.g., `fsdp_config.json`) or an already loaded dict.",
    )
    deepspeed: Annotated[str, Field(min_length=1, max_length=16384)] | None = Field(
        None,
        alias="deepspeed",
        description="Enable DeepSpeed integration. Value is a path to a JSON config file or a dict. JSON text of a DeepSpeed configuration.",
    )
    debug: (
        Annotated[list[Literal["underflow_overflow", "tpu_metrics_debug"]], Field(min_length=1, max_length=2)] | None
    ) = Field(
        None,
        alias="debug",
        description="Enable one or more debug features. Options: 'underflow_overflow' (detect overflow in model I/O), 'tpu_metrics_debug' (print TPU metrics).",
    )
    skip_memory_metrics: bool | None = Field(
        None,
        alias="skipMemoryMetrics",
        description="Whether to skip adding memory profiler reports to metrics. Skipped by default because it slows down training.",
    )


class DPO(Section):
    """TRL's DPOConfig."""

    model_init_kwargs: ModelInitKwargs | None = Field(
        None,
        alias="modelInitKwargs",
        description="Keyword arguments for `AutoModelForCausalLM.from_pretrained`, used when the `model` argument of the `DPOTrainer` is provided as a string. The `revision` value is also used when loading the processing class.",
    )
    router_aux_loss_coef: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="routerAuxLossCoef",
        description="Coefficient of the load-balancing auxiliary loss for Mixture-of-Experts (MoE) models, added to the training loss with this weight. When not set, the value declared by the model config is used. Set to `0.0` to disable it. Fails when used with a non-MoE model.",
    )
    disable_dropout: bool | None = Field(
        None, alias="disableDropout", description="Whether to disable dropout in the model and reference model."
    )
    dataset_num_proc: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="datasetNumProc", description="Number of processes to use for processing the dataset."
    )
    max_length: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxLength",
        description="Maximum length of the tokenized sequence. Sequences longer than `max_length` are truncated from the left or right depending on the `truncation_mode`. If `None`, no truncation is applied. -1 is TRL's None: no truncation. null is refused.",
        json_schema_extra={"nullable": True},
    )
    truncation_mode: Literal["keep_end", "keep_start"] | None = Field(
        None,
        alias="truncationMode",
        description="Truncation mode to use when the sequence exceeds `max_length`. The only supported value is `'keep_start'`. The `'keep_end'` value is deprecated and will be removed in v2.0.0.",
    )
    padding_free: bool | None = Field(
        None,
        alias="paddingFree",
        description="Whether to perform forward passes without padding by flattening all sequences in the batch into a single continuous sequence. This reduces memory usage by eliminating padding overhead. Currently, this is only supported with the FlashAttention 2 or 3, which can efficiently handle the flattened batch structure. Temporarily unavailable: since the DPO refactor, setting it to True warns and falls back to standard padding. It is planned to return in a future update.",
    )
    pad_to_multiple_of: IntOrString | None = Field(
        None,
        alias="padToMultipleOf",
        description="If set, the sequences will be padded to a multiple of this value. `'auto'` pads to a multiple of 128 on Neuron (AWS Trainium), which compiles once per input shape, and does not pad elsewhere.",
    )
    precompute_ref_log_probs: bool | None = Field(
        None,
        alias="precomputeRefLogProbs",
        description="Whether to precompute the reference model log probabilities for the entire training dataset before training. This allows to save memory during training, as the reference model does not need to be kept in memory.",
    )
    precompute_ref_batch_size: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="precomputeRefBatchSize",
        description="Batch size to use when precomputing reference model log probabilities. This can be set higher than the training batch size to speed up preprocessing. If `None`, defaults to `per_device_train_batch_size` for training and `per_device_eval_batch_size` for evaluation.",
    )
    loss_type: (
        Annotated[
            list[
                Literal[
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
            ],
            Field(min_length=1, max_length=15),
        ]
        | None
    ) = Field(
        None,
        alias="lossType",
        description="Type of loss to use. Possible values are: `'sigmoid'`, `'hinge'`, `'ipo'`, `'exo_pair'`, `'nca_pair'`, `'robust'`, `'bco_pair'`, `'sppo_hard'`, `'aot'`, `'aot_unpaired'`, `'apo_zero'`, `'apo_down'`, `'discopop'`, `'sft'`, `'sigmoid_norm'`. If multiple loss types are provided, they will be combined using the weights specified in `loss_weights`.",
    )
    loss_weights: Annotated[list[Number], Field(min_length=1, max_length=15)] | None = Field(
        None,
        alias="lossWeights",
        description="List of loss weights for multi-loss combinations. Used when combining multiple loss types. Example: `[0.8, 0.2, 1.0]` for MPO. If not provided, defaults to equal weights (`1.0`) for all loss types.",
    )
    ld_alpha: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        alias="ldAlpha",
        description="α parameter from the LD-DPO paper, which controls the weighting of the verbose token log-probabilities in responses. If `None`, no weighting is applied to the verbose part, and the loss is equivalent to the standard DPO loss. Must be in [0.0, 1.0]: `ld_alpha=1.0` applies no weighting, and `ld_alpha=0.0` masks tokens beyond shared lengths.",
    )
    f_divergence_type: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] | None = Field(
        None,
        alias="fDivergenceType",
        description="f-divergence regularizer between policy and reference (f-DPO paper). Possible values are: `reverse_kl` (default), `forward_kl`, `js_divergence`, `alpha_divergence`. Only the loss types built on the chosen-rejected reward difference support a non-default value: `'sigmoid'`, `'sigmoid_norm'`, `'hinge'`, `'ipo'`, `'exo_pair'`, `'robust'`, `'discopop'`, `'sft'`. The other loss types have no valid f-divergence generalization and are rejected with a non-default value.",
    )
    f_alpha_divergence_coef: Number | None = Field(
        None,
        alias="fAlphaDivergenceCoef",
        description="α coefficient for the α-divergence u^-α regularizer, used only when `f_divergence_type='alpha_divergence'`.",
    )
    label_smoothing: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        alias="labelSmoothing",
        description="Label smoothing parameter used in Robust DPO and EXO. In Robust DPO, it is interpreted as the probability that a preference label is flipped and must lie in [0.0, 0.5); a typical value recommended by the Robust DPO paper is 0.1. In EXO, it corresponds to the ε label smoothing parameter, for which the paper recommends a typical value of 1e-3.",
    )
    beta: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="beta",
        description="Parameter controlling the deviation from the reference model. Higher β means less deviation from the reference model. For the IPO loss (`loss_type='ipo'`), this value is the regularization parameter denoted by τ in the [paper](https://huggingface.co/papers/2310.12036).",
    )
    use_weighting: bool | None = Field(
        None,
        alias="useWeighting",
        description="Whether to apply [WPO](https://huggingface.co/papers/2406.11827)-style weighting to preference pairs using the policy's length-normalized sequence probabilities.",
    )
    discopop_tau: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        alias="discopopTau",
        description="τ/temperature parameter from the DiscoPOP paper, which controls the shape of the log-ratio modulated loss when using `loss_type='discopop'`. The paper recommends the default value `discopop_tau=0.05`.",
    )
    activation_offloading: bool | None = Field(
        None, alias="activationOffloading", description="Whether to offload the activations to the CPU."
    )
    sync_ref_model: bool | None = Field(
        None,
        alias="syncRefModel",
        description="Whether to synchronize the reference model with the active model every `ref_model_sync_steps` steps, using the `ref_model_mixup_alpha` parameter. This synchronization originates from the [TR-DPO](https://huggingface.co/papers/2404.09656) paper. `sync_ref_model=True` is not yet compatible with PEFT or `precompute_ref_log_probs=True`.",
    )
    ref_model_mixup_alpha: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        alias="refModelMixupAlpha",
        description="α parameter from the TR-DPO paper, which controls the mix between the current policy and the previous reference policy during updates. The reference policy is updated according to the equation: `π_ref = α * π_θ + (1 - α) * π_ref_prev`. To use this parameter, you must set `sync_ref_model=True`.",
    )
    ref_model_sync_steps: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="refModelSyncSteps",
        description="τ parameter from the TR-DPO paper, which determines how frequently the current policy is synchronized with the reference policy. To use this parameter, you must set `sync_ref_model=True`.",
    )
    pad_token: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="padToken",
        description="Deprecated. Set `tokenizer.pad_token` directly and pass it as `processing_class` to the trainer instead.",
    )


class SFT(Section):
    """TRL's SFTConfig."""

    model_init_kwargs: ModelInitKwargs | None = Field(
        None,
        alias="modelInitKwargs",
        description="Keyword arguments for `AutoModelForCausalLM.from_pretrained`, used when the `model` argument of the `SFTTrainer` is provided as a string. The `revision` value is also used when loading the processing class.",
    )
    router_aux_loss_coef: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="routerAuxLossCoef",
        description="Coefficient of the load-balancing auxiliary loss for Mixture-of-Experts (MoE) models, added to the training loss with this weight. When not set, the value declared by the model config is used. Set to `0.0` to disable it. Fails when used with a non-MoE model.",
    )
    chat_template_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="chatTemplatePath",
        description="If specified, sets the model's chat template. This can either be the path to a tokenizer (local directory or Hugging Face Hub model) or a direct path to a Jinja template file. When using a Jinja file, you must ensure that any special tokens referenced in the template are added to the tokenizer and that the model's embedding layer is resized accordingly.",
    )
    dataset_text_field: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, alias="datasetTextField", description="Name of the column that contains text data in the dataset."
    )
    dataset_kwargs: DatasetKwargs | None = Field(
        None,
        alias="datasetKwargs",
        description="Dictionary of optional keyword arguments for the dataset preparation. The only supported key is `skip_prepare_dataset`. When the dataset contains images, `skip_prepare_dataset` is automatically treated as `True` regardless of the provided value, since preprocessing is done on the fly.",
    )
    dataset_num_proc: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="datasetNumProc", description="Number of processes to use for processing the dataset."
    )
    eos_token: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="eosToken",
        description="Token used to indicate the end of a turn or sequence. If `None`, it defaults to `processing_class.eos_token`.",
    )
    max_length: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxLength",
        description="Maximum length of the tokenized sequence. Sequences longer than `max_length` are truncated from the left or right depending on the `truncation_mode`. If `None`, no truncation is applied. When packing is enabled, this value sets the sequence length. -1 is TRL's None: no truncation. null is refused.",
        json_schema_extra={"nullable": True},
    )
    truncation_mode: Literal["keep_end", "keep_start"] | None = Field(
        None,
        alias="truncationMode",
        description="Truncation mode to use when the sequence exceeds `max_length`. The only supported value is `'keep_start'`. The `'keep_end'` value is deprecated and will be removed in v2.0.0.",
    )
    shuffle_dataset: bool | None = Field(None, alias="shuffleDataset", description="Whether to shuffle the dataset.")
    packing: bool | None = Field(
        None,
        alias="packing",
        description="Whether to group multiple sequences into fixed-length blocks to improve computational efficiency and reduce padding. Uses `max_length` to define sequence length.",
    )
    packing_strategy: Literal["bfd", "bfd_split", "wrapped"] | None = Field(
        None,
        alias="packingStrategy",
        description="Strategy for packing sequences. Can be `'bfd'` (best-fit decreasing, truncates overflow), `'bfd_split'` (best-fit decreasing, splits overflow sequences), or `'wrapped'` (aggressive, cuts mid-sequence).",
    )
    padding_free: bool | None = Field(
        None,
        alias="paddingFree",
        description="Whether to perform forward passes without padding by flattening all sequences in the batch into a single continuous sequence. This reduces memory usage by eliminating padding overhead. Currently, this is only supported with the FlashAttention 2 or 3, which can efficiently handle the flattened batch structure. When packing is enabled with strategy `'bfd'`, padding-free is enabled, regardless of the value of this parameter.",
    )
    pad_to_multiple_of: IntOrString | None = Field(
        None,
        alias="padToMultipleOf",
        description="If set, the sequences will be padded to a multiple of this value. `'auto'` pads to a multiple of 128 on Neuron (AWS Trainium), which compiles once per input shape, and does not pad elsewhere.",
    )
    eval_packing: bool | None = Field(
        None,
        alias="evalPacking",
        description="Whether to pack the eval dataset. If `None`, uses the same value as `packing`.",
    )
    completion_only_loss: bool | None = Field(
        None,
        alias="completionOnlyLoss",
        description="Whether to compute loss only on the completion part of the sequence. If set to `True`, loss is computed only on the completion, which is supported only for prompt-completion datasets. If `False`, loss is computed on the entire sequence. If `None` (default), the behavior depends on the dataset: loss is computed on the completion for prompt-completion datasets, and on the full sequence for language modeling datasets.",
    )
    assistant_only_loss: bool | None = Field(
        None,
        alias="assistantOnlyLoss",
        description="Whether to compute loss only on the assistant part of the sequence. If set to `True`, loss is computed only on the assistant responses, which is supported only for conversational datasets. If `False`, loss is computed on the entire sequence.",
    )
    loss_type: Literal["nll", "dft", "chunked_nll"] | None = Field(
        None,
        alias="lossType",
        description="Type of loss to use. Possible values are `'nll'` (standard negative log-likelihood) and `'dft'` (Dynamic Fine-Tuning, https://huggingface.co/papers/2508.05629).",
    )
    activation_offloading: bool | None = Field(
        None, alias="activationOffloading", description="Whether to offload the activations to the CPU."
    )
    pad_token: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="padToken",
        description="Deprecated. Set `tokenizer.pad_token` directly and pass it as `processing_class` to the trainer instead.",
    )


class ORPO(Section):
    """TRL's ORPOConfig."""

    max_length: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxLength",
        description="Maximum length of the sequences (prompt + completion) in the batch. -1 is TRL's None: no truncation. null is refused.",
        json_schema_extra={"nullable": True},
    )
    max_completion_length: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="maxCompletionLength",
        description="Maximum length of the completion. This argument is required if you want to use the default data collator and your model is an encoder-decoder.",
    )
    beta: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="beta",
        description="Parameter controlling the relative ratio loss weight in the ORPO loss. In the paper, it is denoted by λ.",
    )
    disable_dropout: bool | None = Field(
        None, alias="disableDropout", description="Whether to disable dropout in the model."
    )
    padding_value: Annotated[int, Field(ge=0, le=2147483647)] | None = Field(
        None,
        alias="paddingValue",
        description="Padding value to use. If `None`, the padding value of the tokenizer is used.",
    )
    generate_during_eval: bool | None = Field(
        None,
        alias="generateDuringEval",
        description="If `True`, generates and logs completions from the model to W&B during evaluation.",
    )
    is_encoder_decoder: bool | None = Field(
        None,
        alias="isEncoderDecoder",
        description="When using the `model_init` argument (callable) to instantiate the model instead of the `model` argument, you need to specify if the model returned by the callable is an encoder-decoder model.",
    )
    model_init_kwargs: ModelInitKwargs | None = Field(
        None,
        alias="modelInitKwargs",
        description="Keyword arguments to pass to `AutoModelForCausalLM.from_pretrained` when instantiating the model from a string. The `revision` value is also used when loading the processing class.",
    )
    dataset_num_proc: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="datasetNumProc", description="Number of processes to use for processing the dataset."
    )


class CPO(Section):
    """TRL's CPOConfig."""

    max_length: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxLength",
        description="Maximum length of the sequences (prompt + completion) in the batch. -1 is TRL's None: no truncation. null is refused.",
        json_schema_extra={"nullable": True},
    )
    max_completion_length: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="maxCompletionLength",
        description="Maximum length of the completion. This argument is required if you want to use the default data collator and your model is an encoder-decoder.",
    )
    beta: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="beta",
        description="Parameter controlling the deviation from the reference model. Higher β means less deviation from the reference model.",
    )
    label_smoothing: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, alias="labelSmoothing", description="Label smoothing factor."
    )
    loss_type: Literal["sigmoid", "hinge", "ipo", "simpo", "alphapo"] | None = Field(
        None, alias="lossType", description="Type of loss to use."
    )
    disable_dropout: bool | None = Field(
        None, alias="disableDropout", description="Whether to disable dropout in the model."
    )
    cpo_alpha: Annotated[Number, Field(ge=0)] | None = Field(
        None, alias="cpoAlpha", description="Weight of the BC regularizer in CPO training."
    )
    simpo_gamma: Number | None = Field(
        None,
        alias="simpoGamma",
        description="Target reward margin for the SimPO loss, used only when the `loss_type='simpo'`.",
    )
    alpha: Number | None = Field(
        None,
        alias="alpha",
        description="Alpha parameter that controls reward function shape across all loss types. When alpha=0 (default), uses standard log probability rewards. When `alpha != 0`, applies AlphaPO transformation: `r = (1 - p^(-alpha)) / alpha` from the AlphaPO paper. This parameter works with all loss types.",
    )
    generate_during_eval: bool | None = Field(
        None,
        alias="generateDuringEval",
        description="If `True`, generates and logs completions from the model to W&B during evaluation.",
    )
    is_encoder_decoder: bool | None = Field(
        None, alias="isEncoderDecoder", description="Whether the model is an encoder-decoder model."
    )
    model_init_kwargs: ModelInitKwargs | None = Field(
        None,
        alias="modelInitKwargs",
        description="Keyword arguments to pass to `AutoModelForCausalLM.from_pretrained` when instantiating the model from a string. The `revision` value is also used when loading the processing class.",
    )
    dataset_num_proc: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="datasetNumProc", description="Number of processes to use for processing the dataset."
    )


class KTO(Section):
    """TRL's KTOConfig."""

    model_init_kwargs: ModelInitKwargs | None = Field(
        None,
        alias="modelInitKwargs",
        description="Keyword arguments for `AutoModelForCausalLM.from_pretrained`, used when the `model` argument of the `KTOTrainer` is provided as a string. The `revision` value is also used when loading the processing class.",
    )
    router_aux_loss_coef: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="routerAuxLossCoef",
        description="Coefficient of the load-balancing auxiliary loss for Mixture-of-Experts (MoE) models, added to the training loss with this weight. When not set, the value declared by the model config is used. Set to `0.0` to disable it. Fails when used with a non-MoE model.",
    )
    disable_dropout: bool | None = Field(
        None, alias="disableDropout", description="Whether to disable dropout in the model and reference model."
    )
    dataset_num_proc: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="datasetNumProc", description="Number of processes to use for processing the dataset."
    )
    max_length: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxLength",
        description="Maximum length of the tokenized sequence. Sequences longer than `max_length` are truncated from the right. If `None`, no truncation is applied. -1 is TRL's None: no truncation. null is refused.",
        json_schema_extra={"nullable": True},
    )
    pad_to_multiple_of: IntOrString | None = Field(
        None,
        alias="padToMultipleOf",
        description="If set, the sequences will be padded to a multiple of this value. `'auto'` pads to a multiple of 128 on Neuron (AWS Trainium), which compiles once per input shape, and does not pad elsewhere.",
    )
    precompute_ref_log_probs: bool | None = Field(
        None,
        alias="precomputeRefLogProbs",
        description="Whether to precompute the reference model log probabilities for the entire training dataset before training. This allows to save memory during training, as the reference model does not need to be kept in memory.",
    )
    precompute_ref_batch_size: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="precomputeRefBatchSize",
        description="Batch size to use when precomputing reference model log probabilities. This can be set higher than the training batch size to speed up preprocessing. If `None`, defaults to `per_device_train_batch_size` for training and `per_device_eval_batch_size` for evaluation.",
    )
    loss_type: Literal["kto", "apo_zero_unpaired"] | None = Field(
        None, alias="lossType", description="Type of loss to use."
    )
    beta: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="beta",
        description="Parameter controlling the deviation from the reference model. Higher β means less deviation from the reference model.",
    )
    desirable_weight: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="desirableWeight",
        description="Desirable losses are weighed by this factor to counter unequal number of desirable and undesirable pairs.",
    )
    undesirable_weight: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="undesirableWeight",
        description="Undesirable losses are weighed by this factor to counter unequal number of desirable and undesirable pairs.",
    )
    activation_offloading: bool | None = Field(
        None, alias="activationOffloading", description="Whether to offload the activations to the CPU."
    )
    sync_ref_model: bool | None = Field(
        None,
        alias="syncRefModel",
        description="Whether to synchronize the reference model with the active model every `ref_model_sync_steps` steps, using the `ref_model_mixup_alpha` parameter. This synchronization originates from the [TR-DPO](https://huggingface.co/papers/2404.09656) paper. `sync_ref_model=True` is not yet compatible with PEFT or `precompute_ref_log_probs=True`.",
    )
    ref_model_mixup_alpha: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        alias="refModelMixupAlpha",
        description="α parameter from the TR-DPO paper, which controls the mix between the current policy and the previous reference policy during updates. The reference policy is updated according to the equation: `π_ref = α * π_θ + (1 - α) * π_ref_prev`. To use this parameter, you must set `sync_ref_model=True`.",
    )
    ref_model_sync_steps: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None,
        alias="refModelSyncSteps",
        description="τ parameter from the TR-DPO paper, which determines how frequently the current policy is synchronized with the reference policy. To use this parameter, you must set `sync_ref_model=True`.",
    )


class Reward(Section):
    """TRL's RewardConfig."""

    model_init_kwargs: ModelInitKwargs | None = Field(
        None,
        alias="modelInitKwargs",
        description="Keyword arguments for `AutoModelForSequenceClassification.from_pretrained`, used when the `model` argument of the `RewardTrainer` is provided as a string. The `revision` value is also used when loading the tokenizer.",
    )
    chat_template_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        alias="chatTemplatePath",
        description="If specified, sets the model's chat template. This can either be the path to a tokenizer (local directory or Hugging Face Hub model) or a direct path to a Jinja template file. When using a Jinja file, you must ensure that any special tokens referenced in the template are added to the tokenizer and that the model's embedding layer is resized accordingly.",
    )
    disable_dropout: bool | None = Field(
        None, alias="disableDropout", description="Whether to disable dropout in the model."
    )
    dataset_num_proc: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        None, alias="datasetNumProc", description="Number of processes to use for processing the dataset."
    )
    eos_token: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="eosToken",
        description="Token used to indicate the end of a turn or sequence. If `None`, it defaults to `processing_class.eos_token`.",
    )
    max_length: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        None,
        alias="maxLength",
        description="Maximum length of the tokenized sequence. Samples are filtered out if either chosen or rejected sequence exceeds this value. If `None`, no filtering is applied. -1 is TRL's None: no truncation. null is refused.",
        json_schema_extra={"nullable": True},
    )
    pad_to_multiple_of: IntOrString | None = Field(
        None,
        alias="padToMultipleOf",
        description="If set, the sequences will be padded to a multiple of this value. `'auto'` pads to a multiple of 128 on Neuron (AWS Trainium), which compiles once per input shape, and does not pad elsewhere.",
    )
    center_rewards_coefficient: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        alias="centerRewardsCoefficient",
        description="Coefficient to incentivize the reward model to output mean-zero rewards (proposed by [this paper](https://huggingface.co/papers/2312.09244), Eq. 2). Recommended value: `0.01`.",
    )
    activation_offloading: bool | None = Field(
        None, alias="activationOffloading", description="Whether to offload the activations to the CPU."
    )
    pad_token: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None,
        alias="padToken",
        description="Deprecated. Set `tokenizer.pad_token` directly and pass it as `processing_class` to the trainer instead.",
    )


CAMEL: dict[str, str] = {
    "accelerator_config": "acceleratorConfig",
    "activation_checkpointing": "activationCheckpointing",
    "activation_checkpointing_kwargs": "activationCheckpointingKwargs",
    "activation_offloading": "activationOffloading",
    "adam_beta1": "adamBeta1",
    "adam_beta2": "adamBeta2",
    "adam_epsilon": "adamEpsilon",
    "alpha": "alpha",
    "assistant_only_loss": "assistantOnlyLoss",
    "attn_implementation": "attnImplementation",
    "auto_find_batch_size": "autoFindBatchSize",
    "average_tokens_across_devices": "averageTokensAcrossDevices",
    "batch_eval_metrics": "batchEvalMetrics",
    "beta": "beta",
    "bf16": "bf16",
    "bf16_full_eval": "bf16FullEval",
    "bnb_4bit_quant_storage": "bnb4bitQuantStorage",
    "bnb_4bit_quant_type": "bnb4bitQuantType",
    "center_rewards_coefficient": "centerRewardsCoefficient",
    "chat_template_path": "chatTemplatePath",
    "columns": "columns",
    "completion_only_loss": "completionOnlyLoss",
    "cpo_alpha": "cpoAlpha",
    "data_dir": "dataDir",
    "data_files": "dataFiles",
    "data_seed": "dataSeed",
    "dataloader_drop_last": "dataloaderDropLast",
    "dataloader_in_order": "dataloaderInOrder",
    "dataloader_multiprocessing_context": "dataloaderMultiprocessingContext",
    "dataloader_num_workers": "dataloaderNumWorkers",
    "dataloader_persistent_workers": "dataloaderPersistentWorkers",
    "dataloader_pin_memory": "dataloaderPinMemory",
    "dataloader_prefetch_factor": "dataloaderPrefetchFactor",
    "dataset_config": "datasetConfig",
    "dataset_kwargs": "datasetKwargs",
    "dataset_name": "datasetName",
    "dataset_num_proc": "datasetNumProc",
    "dataset_streaming": "datasetStreaming",
    "dataset_test_split": "datasetTestSplit",
    "dataset_text_field": "datasetTextField",
    "dataset_train_split": "datasetTrainSplit",
    "datasets": "datasets",
    "ddp_backend": "ddpBackend",
    "ddp_broadcast_buffers": "ddpBroadcastBuffers",
    "ddp_bucket_cap_mb": "ddpBucketCapMb",
    "ddp_find_unused_parameters": "ddpFindUnusedParameters",
    "ddp_static_graph": "ddpStaticGraph",
    "ddp_timeout": "ddpTimeout",
    "debug": "debug",
    "deepspeed": "deepspeed",
    "desirable_weight": "desirableWeight",
    "disable_dropout": "disableDropout",
    "discopop_tau": "discopopTau",
    "dtype": "dtype",
    "eos_token": "eosToken",
    "eval_accumulation_steps": "evalAccumulationSteps",
    "eval_delay": "evalDelay",
    "eval_do_concat_batches": "evalDoConcatBatches",
    "eval_on_start": "evalOnStart",
    "eval_packing": "evalPacking",
    "eval_steps": "evalSteps",
    "eval_strategy": "evalStrategy",
    "eval_use_gather_object": "evalUseGatherObject",
    "f_alpha_divergence_coef": "fAlphaDivergenceCoef",
    "f_divergence_type": "fDivergenceType",
    "fp16": "fp16",
    "fp16_full_eval": "fp16FullEval",
    "fraction": "fraction",
    "fsdp": "fsdp",
    "fsdp_config": "fsdpConfig",
    "full_determinism": "fullDeterminism",
    "generate_during_eval": "generateDuringEval",
    "gradient_accumulation_steps": "gradientAccumulationSteps",
    "gradient_checkpointing": "gradientCheckpointing",
    "gradient_checkpointing_kwargs": "gradientCheckpointingKwargs",
    "greater_is_better": "greaterIsBetter",
    "ignore_bias_buffers": "ignoreBiasBuffers",
    "ignore_data_skip": "ignoreDataSkip",
    "include_for_metrics": "includeForMetrics",
    "include_num_input_tokens_seen": "includeNumInputTokensSeen",
    "is_encoder_decoder": "isEncoderDecoder",
    "label_names": "labelNames",
    "label_smoothing": "labelSmoothing",
    "label_smoothing_factor": "labelSmoothingFactor",
    "ld_alpha": "ldAlpha",
    "learning_rate": "learningRate",
    "length_column_name": "lengthColumnName",
    "liger_kernel_config": "ligerKernelConfig",
    "load_best_model_at_end": "loadBestModelAtEnd",
    "load_in_4bit": "loadIn4bit",
    "load_in_8bit": "loadIn8bit",
    "log_level": "logLevel",
    "log_level_replica": "logLevelReplica",
    "log_on_each_node": "logOnEachNode",
    "logging_first_step": "loggingFirstStep",
    "logging_nan_inf_filter": "loggingNanInfFilter",
    "logging_steps": "loggingSteps",
    "logging_strategy": "loggingStrategy",
    "lora_alpha": "loraAlpha",
    "lora_dropout": "loraDropout",
    "lora_modules_to_save": "loraModulesToSave",
    "lora_r": "loraR",
    "lora_target_modules": "loraTargetModules",
    "lora_target_parameters": "loraTargetParameters",
    "lora_task_type": "loraTaskType",
    "loss_type": "lossType",
    "loss_weights": "lossWeights",
    "lr_scheduler_kwargs": "lrSchedulerKwargs",
    "lr_scheduler_type": "lrSchedulerType",
    "max_completion_length": "maxCompletionLength",
    "max_grad_norm": "maxGradNorm",
    "max_length": "maxLength",
    "max_steps": "maxSteps",
    "metric_for_best_model": "metricForBestModel",
    "model_init_kwargs": "modelInitKwargs",
    "model_name_or_path": "modelNameOrPath",
    "model_revision": "modelRevision",
    "name": "name",
    "neftune_noise_alpha": "neftuneNoiseAlpha",
    "num_train_epochs": "numTrainEpochs",
    "optim": "optim",
    "optim_args": "optimArgs",
    "optim_target_modules": "optimTargetModules",
    "packing": "packing",
    "packing_strategy": "packingStrategy",
    "pad_to_multiple_of": "padToMultipleOf",
    "pad_token": "padToken",
    "padding_free": "paddingFree",
    "padding_value": "paddingValue",
    "path": "path",
    "per_device_eval_batch_size": "perDeviceEvalBatchSize",
    "per_device_train_batch_size": "perDeviceTrainBatchSize",
    "precompute_ref_batch_size": "precomputeRefBatchSize",
    "precompute_ref_log_probs": "precomputeRefLogProbs",
    "prediction_loss_only": "predictionLossOnly",
    "project": "project",
    "ref_model_mixup_alpha": "refModelMixupAlpha",
    "ref_model_sync_steps": "refModelSyncSteps",
    "remove_unused_columns": "removeUnusedColumns",
    "report_to": "reportTo",
    "restore_callback_states_from_checkpoint": "restoreCallbackStatesFromCheckpoint",
    "router_aux_loss_coef": "routerAuxLossCoef",
    "save_on_each_node": "saveOnEachNode",
    "save_only_model": "saveOnlyModel",
    "save_steps": "saveSteps",
    "save_strategy": "saveStrategy",
    "save_total_limit": "saveTotalLimit",
    "seed": "seed",
    "shuffle_dataset": "shuffleDataset",
    "simpo_gamma": "simpoGamma",
    "skip_memory_metrics": "skipMemoryMetrics",
    "split": "split",
    "streaming": "streaming",
    "sync_ref_model": "syncRefModel",
    "test_split_size": "testSplitSize",
    "tf32": "tf32",
    "torch_compile": "torchCompile",
    "torch_compile_backend": "torchCompileBackend",
    "torch_compile_mode": "torchCompileMode",
    "torch_empty_cache_steps": "torchEmptyCacheSteps",
    "trackio_bucket_id": "trackioBucketId",
    "trackio_space_id": "trackioSpaceId",
    "trackio_static_space_id": "trackioStaticSpaceId",
    "train_sampling_strategy": "trainSamplingStrategy",
    "truncation_mode": "truncationMode",
    "undesirable_weight": "undesirableWeight",
    "use_bnb_nested_quant": "useBnbNestedQuant",
    "use_cache": "useCache",
    "use_dora": "useDora",
    "use_liger_kernel": "useLigerKernel",
    "use_peft": "usePeft",
    "use_rslora": "useRslora",
    "use_weighting": "useWeighting",
    "warmup_steps": "warmupSteps",
    "weight_decay": "weightDecay",
}


SNAKE: dict[str, str] = {v: k for k, v in CAMEL.items()}


# TRL's fields that a spec has no words for, and what decides them.
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
