"""Maps inside the spec whose keys are TRL's own (snake_case, as written in a recipe).

Every key is declared: CEL sees nothing inside undeclared content, and comparing such content with `==` is wrong (a
renamed key compares equal), so a change would slip past the rules about changing a spec.
"""

from typing import Annotated, Literal

from pydantic import Field

from alignment_operator.api.schema import Number, Section, Short, Text

Fraction = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1, le=2147483647)]


class LrSchedulerKwargs(Section):
    """Arguments of the learning-rate schedules of transformers/optimization.py."""

    num_cycles: Number | None = Field(None, description="Cycles of cosine (0.5), restarts of cosine_with_restarts (1).")
    power: Number | None = Field(None, description="Exponent of polynomial.")
    lr_end: Number | None = Field(None, description="Final learning rate of polynomial.")
    timescale: int | None = Field(None, description="Time scale of inverse_sqrt.")
    min_lr: Number | None = Field(None, description="Final learning rate (cosine_with_min_lr, plateau).")
    min_lr_rate: Number | None = Field(None, description="Final learning rate as a share of the initial one.")
    min_lr_ratio: Number | None = Field(None, description="Final share of warmup_stable_decay.")
    warmup_lr_rate: Number | None = Field(None, description="Initial share of cosine_warmup_with_min_lr.")
    num_stable_steps: int | None = Field(None, description="Stable steps of warmup_stable_decay.")
    num_decay_steps: int | None = Field(None, description="Decay steps of warmup_stable_decay.")
    warmup_type: Literal["linear", "cosine", "1-sqrt"] | None = Field(None, description="Of warmup_stable_decay.")
    decay_type: Literal["linear", "cosine", "1-sqrt"] | None = Field(None, description="Of warmup_stable_decay.")
    mode: Literal["min", "max"] | None = Field(None, description="Of reduce_lr_on_plateau and greedy.")
    factor: Number | None = Field(None, description="Of reduce_lr_on_plateau and greedy.")
    patience: int | None = Field(None, description="Of reduce_lr_on_plateau and greedy.")
    threshold: Number | None = Field(None, description="Of reduce_lr_on_plateau and greedy.")
    threshold_mode: Literal["rel", "abs"] | None = Field(None, description="Of reduce_lr_on_plateau.")
    cooldown: int | None = Field(None, description="Of reduce_lr_on_plateau and greedy.")
    eps: Number | None = Field(None, description="Of reduce_lr_on_plateau.")


class CheckpointingKwargs(Section):
    """Arguments of activation (gradient) checkpointing: transformers' two, and torch.utils.checkpoint's."""

    use_reentrant: bool | None = Field(None, description="Use torch's old, reentrant checkpointing.")
    preserve_rng_state: bool | None = Field(None, description="Keep the random state, so that dropout repeats.")
    determinism_check: Literal["default", "none"] | None = Field(None, description="Compare shapes on recomputation.")
    debug: bool | None = Field(None, description="Trace the operators of forward and recomputation.")
    early_stop: bool | None = Field(None, description="Stop the recomputation as soon as it has what it needs.")
    every_n_layers: Positive | None = Field(None, description="Checkpoint only every n-th decoder layer.")
    selective: bool | None = Field(None, description="SFT: recompute only what is cheap (TRL).")
    offload: bool | None = Field(None, description="Hold saved activations in pinned host memory.")


class FsdpConfig(Section):
    """FSDP settings, as transformers reads them (TrainingArguments.fsdp_config)."""

    version: Annotated[int, Field(ge=1, le=2)] | None = Field(None, description="1, or 2 (torch's fully_shard).")
    reshard_after_forward: bool | None = Field(None, description="FSDP2: free parameters after the forward pass.")
    sharding_strategy: Short | None = Field(None, description="FSDP1: FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD, ...")
    cpu_offload: bool | None = Field(None, description="Keep parameters and gradients in host memory.")
    offload_params: bool | None = Field(None, description="Keep parameters and gradients in host memory.")
    auto_wrap_policy: Literal["TRANSFORMER_BASED_WRAP", "SIZE_BASED_WRAP", "NO_WRAP"] | None = Field(
        None, description="How modules are grouped."
    )
    min_num_params: Annotated[int, Field(ge=0)] | None = Field(None, description="For SIZE_BASED_WRAP.")
    transformer_layer_cls_to_wrap: list[Short] | None = Field(
        None, max_length=16, description="Names of the layer classes to wrap."
    )
    backward_prefetch: Literal["backward_pre", "backward_post", "BACKWARD_PRE", "BACKWARD_POST"] | None = Field(
        None, description="FSDP1: when to fetch the next parameters."
    )
    forward_prefetch: bool | None = Field(None, description="FSDP1: fetch the next parameters in the forward pass.")
    limit_all_gathers: bool | None = Field(None, description="Limit the rate of all-gathers.")
    use_orig_params: bool | None = Field(None, description="FSDP1: keep the original parameters.")
    sync_module_states: bool | None = Field(None, description="Broadcast rank 0's weights at the start.")
    cpu_ram_efficient_loading: bool | None = Field(None, description="Only rank 0 reads the weights.")
    activation_checkpointing: bool | None = Field(None, description="Checkpoint activations inside FSDP.")
    state_dict_type: Literal["FULL_STATE_DICT", "SHARDED_STATE_DICT", "LOCAL_STATE_DICT"] | None = Field(
        None, description="How checkpoints are written."
    )


class GradientAccumulationKwargs(Section):
    """accelerate's GradientAccumulationPlugin, less num_steps (that is training.gradientAccumulationSteps)."""

    adjust_scheduler: bool | None = Field(None, description="Step the schedule once per optimizer step.")
    sync_with_dataloader: bool | None = Field(None, description="Synchronise at the end of the data loader.")
    sync_each_batch: bool | None = Field(None, description="Synchronise gradients at every batch.")


class AcceleratorConfig(Section):
    """transformers' AcceleratorConfig."""

    split_batches: bool | None = Field(None, description="Split each batch across the processes.")
    dispatch_batches: bool | None = Field(None, description="Read data on rank 0 and send it out.")
    even_batches: bool | None = Field(None, description="Repeat samples so that every process has a full batch.")
    use_seedable_sampler: bool | None = Field(None, description="Shuffle the same way on every number of processes.")
    non_blocking: bool | None = Field(None, description="Copy batches to the device asynchronously.")
    gradient_accumulation_kwargs: GradientAccumulationKwargs | None = Field(None, description="Of accelerate.")


class DatasetKwargs(Section):
    """SFT's dataset_kwargs: TRL supports one key."""

    skip_prepare_dataset: bool | None = Field(None, description="The dataset is already tokenized.")


_ELSEWHERE = "Refused here: set spec.model.{} instead."


class ModelInitKwargs(Section):
    """Extra arguments of `from_pretrained`. What `spec.model` decides is declared here only to be refused clearly."""

    subfolder: Text | None = Field(None, description="Folder inside the repository that holds the weights.")
    variant: Short | None = Field(None, description="Weights file variant, for example fp16.")
    use_safetensors: bool | None = Field(None, description="Whether to read safetensors files only.")
    use_kernels: bool | None = Field(None, description="Use hub kernels for the layers (needs the package kernels).")
    low_cpu_mem_usage: bool | None = Field(None, description="Load without a second copy in host memory.")
    ignore_mismatched_sizes: bool | None = Field(None, description="Initialise weights whose shape differs.")
    experts_implementation: Literal["eager", "batched_mm", "grouped_mm"] | None = Field(
        None, description="How mixture-of-experts layers are computed."
    )
    attention_dropout: Fraction | None = Field(None, description="Overrides the model's configuration.")
    hidden_dropout: Fraction | None = Field(None, description="Overrides the model's configuration.")
    max_position_embeddings: Positive | None = Field(None, description="Overrides the model's configuration.")
    sliding_window: Positive | None = Field(None, description="Overrides the model's configuration.")
    tie_word_embeddings: bool | None = Field(None, description="Overrides the model's configuration.")
    output_router_logits: bool | None = Field(None, description="Overrides the model's configuration.")
    router_aux_loss_coef: Number | None = Field(None, description="Overrides the model's configuration.")
    dtype: Short | None = Field(None, description=_ELSEWHERE.format("dtype"))
    torch_dtype: Short | None = Field(None, description=_ELSEWHERE.format("dtype"))
    revision: Text | None = Field(None, description=_ELSEWHERE.format("modelRevision"))
    attn_implementation: Text | None = Field(None, description=_ELSEWHERE.format("attnImplementation"))
    load_in_4bit: bool | None = Field(None, description=_ELSEWHERE.format("loadIn4bit"))
    load_in_8bit: bool | None = Field(None, description=_ELSEWHERE.format("loadIn8bit"))
    trust_remote_code: bool | None = Field(None, description=_ELSEWHERE.format("trustRemoteCode"))
    device_map: Text | None = Field(None, description="Refused here: the trainer places the model.")
    quantization_config: dict[Short, Text] | None = Field(
        None, max_length=32, description=_ELSEWHERE.format("loadIn4bit or loadIn8bit")
    )
