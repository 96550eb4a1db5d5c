"""get_model and get_reference_model: the one place that loads weights, for the policy and for the frozen reference.

The names are those of alignment-handbook's scripts; TRL 1.x loads the model inside its trainers instead, and with the
same recipe both give the same losses (tests/contract/trainer).
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from . import zero
from .exits import ModelUnavailable, UserError
from .hub import ask, naming
from .quantization import get_kbit_device_map, get_quantization_config, keep_differentiable_on_cpu, resolve_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import ModelConfig

    from .methods import MethodConfig
    from .run_config import RunConfig


def get_model(
    model_args: ModelConfig, training_args: MethodConfig, section: str = "spec.model", **overrides: Any
) -> PreTrainedModel:
    """Load the model that `model_args` describes: a causal LM, or for RewardConfig a classifier with one label.

    `section` is where the user asked for it; `overrides` win over what the arguments say (TRL: `model_init_kwargs`).
    Raises UserError (nonsense), ModelUnavailable (no such folder), and what transformers raises (see diagnosis.py).
    """
    field = f"{section}.modelNameOrPath"
    path = local_or_hub(model_args.model_name_or_path, field)
    with naming(field, path, model_args.model_revision):
        model_kwargs = {**get_model_kwargs(model_args, training_args), **overrides}
        architecture = get_architecture(path, training_args, model_kwargs)
        return keep_differentiable_on_cpu(architecture.from_pretrained(path, **model_kwargs))


def get_model_kwargs(model_args: ModelConfig, training_args: MethodConfig) -> dict[str, Any]:
    """What `from_pretrained` is given: the recipe's words in transformers' types."""
    dtype = resolve_dtype(model_args, training_args)
    quantization_config = get_quantization_config(model_args, dtype)
    model_kwargs: dict[str, Any] = dict(  # noqa: C408
        revision=model_args.model_revision,
        trust_remote_code=training_args.trust_remote_code,
        attn_implementation=model_args.attn_implementation,
        dtype=dtype,
        use_cache=not training_args.gradient_checkpointing,
        device_map=_device_map(training_args, quantization_config is not None),
    )
    if quantization_config is not None:
        model_kwargs["quantization_config"] = quantization_config
    return {**model_kwargs, **(training_args.model_init_kwargs or {})}


def get_architecture(path: str, training_args: MethodConfig, model_kwargs: dict[str, Any]) -> Any:
    """The class to load: read from the config of the revision that is asked for (TRL reads that of `main`)."""
    import transformers
    from trl import RewardConfig

    if isinstance(training_args, RewardConfig):
        model_kwargs["num_labels"] = 1  # the reward
        return transformers.AutoModelForSequenceClassification
    config = transformers.AutoConfig.from_pretrained(
        path, revision=model_kwargs["revision"], trust_remote_code=model_kwargs["trust_remote_code"]
    )
    named = (config.architectures or ["AutoModelForCausalLM"])[0]
    if named.endswith("ForConditionalGeneration"):  # vision-language models are no AutoModelForCausalLM
        return getattr(transformers, named, transformers.AutoModelForImageTextToText)
    return transformers.AutoModelForCausalLM


def get_adapted_model(model: PreTrainedModel, adapter_name_or_path: str, processing_class: Any) -> Any:
    """`model` with a trained adapter to go on from; TRL then keeps a frozen copy of it as the reference."""
    from peft import PeftModel

    from .vocabulary import copy_trained_tokens, fit_vocabulary

    field = "spec.model.adapterNameOrPath"
    path = local_or_hub(adapter_name_or_path, field)
    try:
        with naming(field, path):
            fit_vocabulary(model, path, len(getattr(processing_class, "tokenizer", processing_class)))
            adapted = PeftModel.from_pretrained(model, path, is_trainable=True)
    except RuntimeError as error:  # shapes that do not fit
        raise UserError(
            f"The adapter {path} does not fit the model: {error}",
            cure="Give spec.model the base model that spec.model.adapterNameOrPath was trained on.",
        ) from error
    copy_trained_tokens(adapted)
    return adapted


def get_reference_model(run: RunConfig, model_args: ModelConfig, training_args: MethodConfig) -> PreTrainedModel | None:
    """The frozen reference, or None where TRL takes the policy's own weights (adapter off, or before the first step).

    Strategies: SharedAdapter (None; needs an adapter), Precomputed (None, or the own model for one pass), Resident (a
    second model). Auto is SharedAdapter with an adapter, else Resident; an own model makes it Resident.
    """
    if not needs_second_model(run, model_args, training_args):
        return None
    own = run.referenceModel.model
    reference_args, trust_remote_code = reference_model_args(model_args, training_args, own)
    section = "spec.referenceModel.model" if own else "spec.model"
    reference = get_model(reference_args, training_args, section, trust_remote_code=trust_remote_code)
    return reference.eval().requires_grad_(False)


def needs_second_model(run: RunConfig, model_args: ModelConfig, training_args: MethodConfig) -> bool:
    """Whether the reference has weights of its own. Raises UserError (SharedAdapter with nothing to share)."""
    strategy, own = run.referenceModel.strategy, run.referenceModel.model
    has_adapter = model_args.use_peft or run.adapterNameOrPath is not None
    if strategy == "SharedAdapter":
        _check_shared_adapter(has_adapter, own)
        return False
    if strategy == "Auto":
        return bool(own) or not (has_adapter or training_args.precompute_ref_log_probs)
    return strategy == "Resident" or bool(own)


def reference_model_args(
    model_args: ModelConfig, training_args: MethodConfig, own: dict[str, Any]
) -> tuple[ModelConfig, bool]:
    """The policy's ModelConfig with the reference's own fields over it, and its trust_remote_code."""
    fields = dict(own)
    trust_remote_code = fields.pop("trust_remote_code", training_args.trust_remote_code)
    unknown = fields.keys() - {field.name for field in dataclasses.fields(model_args)}
    if unknown:
        raise UserError(
            f"spec.referenceModel.model has unknown fields: {', '.join(sorted(unknown))}.",
            cure="Use the fields of spec.model that say what is loaded and how.",
        )
    if "model_name_or_path" in fields:
        fields.setdefault("model_revision", "main")  # a revision of the policy's repository means nothing in another
    for width, other in (("load_in_4bit", "load_in_8bit"), ("load_in_8bit", "load_in_4bit")):
        if fields.get(width):
            fields.setdefault(other, False)
    return dataclasses.replace(model_args, use_peft=False, **fields), trust_remote_code


def check_same_vocabulary(reference: PreTrainedModel | None, processing_class: Any) -> None:
    """The reference reads the policy's tokens. Raises UserError when it has no embedding for some of them."""
    from .vocabulary import embedding_rows

    tokens = len(getattr(processing_class, "tokenizer", processing_class))
    if reference is None:
        return
    known = embedding_rows(reference)
    if known < tokens:
        raise UserError(
            f"The reference model knows {known} tokens and the policy's tokenizer {tokens}: they do not fit.",
            cure="Give spec.referenceModel.model a model with the policy's tokenizer.",
        )


def get_processing_class(
    model_args: ModelConfig, training_args: MethodConfig, method: str, adapter: str | None = None
) -> Any:
    """The model's tokenizer; for a vision-language model its processor, where TRL's trainer takes one.

    An adapter that was saved with a tokenizer is used with it: it may have a chat template and tokens that the base
    model's lacks.
    """
    from transformers import AutoProcessor, AutoTokenizer

    auto = AutoTokenizer if method in ("orpo", "cpo", "reward") else AutoProcessor
    field = "spec.model.modelNameOrPath"
    path = local_or_hub(model_args.model_name_or_path, field)
    revision = (training_args.model_init_kwargs or {}).get("revision", model_args.model_revision)
    with naming(field, path, revision):
        ask(path, revision)
        processing_class = auto.from_pretrained(
            path, revision=revision, trust_remote_code=training_args.trust_remote_code
        )
    if adapter:
        processing_class = _with_own_tokenizer(processing_class, adapter, training_args)
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    if tokenizer.pad_token is None:  # ORPO and CPO do not do this themselves
        tokenizer.pad_token = tokenizer.eos_token
    return processing_class


def _with_own_tokenizer(processing_class: Any, adapter: str, training_args: MethodConfig) -> Any:
    from transformers import AutoTokenizer

    from .vocabulary import brings_tokenizer

    field = "spec.model.adapterNameOrPath"
    path = local_or_hub(adapter, field)
    if not brings_tokenizer(path):
        return processing_class
    with naming(field, path):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=training_args.trust_remote_code)
    if not hasattr(processing_class, "tokenizer"):
        return tokenizer
    processing_class.tokenizer = tokenizer
    return processing_class


def local_or_hub(name_or_path: str | None, field: str) -> str:
    """`name_or_path`, checked as far as that is possible without the network. Raises UserError, ModelUnavailable."""
    if not name_or_path:
        raise UserError(f"{field} is not set.", cure=f"Set {field} to a model's name on the hub or a folder.")
    looks_local = name_or_path.startswith(("/", "./", "../", "~")) or name_or_path.count("/") > 1
    if looks_local and not os.path.isdir(os.path.expanduser(name_or_path)):
        raise ModelUnavailable(
            f"{field}: there is no folder {name_or_path}.", cure=f"Correct {field}, or mount the volume that holds it."
        )
    return os.path.expanduser(name_or_path)


def _device_map(training_args: MethodConfig, is_quantized: bool) -> str | dict[str, Any] | None:
    """As TRL: one process with GPUs lets accelerate place the model, several processes place their own copy.

    ZeRO-3 places every weight itself, and transformers refuses a map beside it.
    """
    if zero.partitions_weights(training_args):
        return None
    if is_quantized:
        return get_kbit_device_map()
    if training_args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        return None
    return None if training_args.device.type in ("cpu", "mps") else "auto"


def _check_shared_adapter(has_adapter: bool, own: dict[str, Any]) -> None:
    if not has_adapter:
        raise UserError(
            "spec.referenceModel.strategy is SharedAdapter, but the run trains no adapter: nothing is left to share.",
            cure="Set spec.model.usePeft, or choose Resident or Precomputed.",
        )
    if own:
        raise UserError(
            "spec.referenceModel.model cannot be combined with strategy SharedAdapter, which shares the policy's.",
            cure="Choose strategy Resident or Precomputed, or remove spec.referenceModel.model.",
        )
