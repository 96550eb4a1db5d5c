"""The reference that DPO or KTO is given: a model, or the name under which its log-probabilities are kept."""

from __future__ import annotations

import copy
import importlib.metadata
from functools import partial
from typing import TYPE_CHECKING, Any

from . import group
from .hub import naming
from .model_identity import model_identity
from .models import (
    check_same_vocabulary,
    get_reference_model,
    local_or_hub,
    needs_second_model,
    reference_model_args,
)
from .precompute import PrecomputedReference, Report
from .reference_cache import ReferenceCache

if TYPE_CHECKING:
    from trl import ModelConfig

    from .config import Config
    from .methods import MethodConfig
    from .run_config import RunConfig

_LOADED_AS = ("dtype", "attn_implementation", "load_in_8bit", "load_in_4bit")
_QUANTIZED_AS = ("bnb_4bit_quant_type", "use_bnb_nested_quant")


def reference_arguments(config: Config, processing_class: Any, report: Report) -> dict[str, Any]:
    """The trainer's arguments: `ref_model` (None: the policy's own weights), `precomputed` where the cache is used.

    report: told how far a split is precomputed (lifecycle.py).

    A reference that is only precomputed is not loaded here: its log-probabilities may be in the cache.
    """
    run, training_args = config.run, copy.copy(config.training_args)  # the trainer's are changed once policy is loaded
    load = partial(_load, run, config.model_args, training_args, processing_class)
    if not (training_args.precompute_ref_log_probs and run.optimizations.referenceCache):
        return {"ref_model": load()}
    identity = group.from_first(reference_identity(config) if group.rank() == 0 else None)
    if identity is None:
        return {"ref_model": load()}
    cache = ReferenceCache()
    if training_args.fsdp or training_args.deepspeed:  # TRL shards it while it builds the trainer
        return {"ref_model": load(), "precomputed": PrecomputedReference(cache, identity, report=report)}
    second = needs_second_model(run, config.model_args, training_args)
    return {"precomputed": PrecomputedReference(cache, identity, load if second else None, report)}


def _load(run: RunConfig, model_args: ModelConfig, training_args: MethodConfig, processing_class: Any) -> Any:
    reference = get_reference_model(run, model_args, training_args)
    check_same_vocabulary(reference, processing_class)
    return reference


def reference_identity(config: Config) -> dict[str, Any] | None:
    """What the reference's numbers depend on as far as the model goes: its weights and how they are loaded.

    None where the weights are not all in one place (a folder that holds an adapter for a base elsewhere).
    """
    run, training_args = config.run, config.training_args
    second = needs_second_model(run, config.model_args, training_args)
    model_args, field, adapter = config.model_args, "spec.model.modelNameOrPath", run.adapterNameOrPath
    if second:
        model_args, _ = reference_model_args(config.model_args, training_args, run.referenceModel.model)
        adapter = None
        if run.referenceModel.model:
            field = "spec.referenceModel.model.modelNameOrPath"
    kwargs = training_args.model_init_kwargs or {}
    revision = kwargs.get("revision", model_args.model_revision)
    identity = {"model": _named(model_args.model_name_or_path, field, revision), **_loaded_as(model_args, kwargs)}
    if adapter:
        identity["adapter"] = _named(adapter, "spec.model.adapterNameOrPath", None, "adapter_config.json")
        identity["peft"] = importlib.metadata.version("peft")
    return None if "adapter_config.json" in identity["model"].get("files", {}) else identity


def _named(name: str | None, field: str, revision: str | None, config_file: str = "config.json") -> dict[str, Any]:
    path = local_or_hub(name, field)
    with naming(field, path, revision):
        return model_identity(path, revision, config_file)


def _loaded_as(model_args: ModelConfig, kwargs: dict[str, Any]) -> dict[str, Any]:
    """dtype, attention and quantization change the numbers; attention by rounding, or more (soft caps)."""
    names: tuple[str, ...] = _LOADED_AS
    loaded: dict[str, Any] = {}
    if model_args.load_in_4bit:
        names += _QUANTIZED_AS
    if model_args.load_in_4bit or model_args.load_in_8bit:
        loaded["bitsandbytes"] = importlib.metadata.version("bitsandbytes")
    loaded |= {name: getattr(model_args, name) for name in names}
    return {**loaded, "modelInitKwargs": {name: kwargs[name] for name in kwargs if name != "revision"}}
