"""The recipe and run.yaml, as parsed, in the terms of the estimate."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import zero
from ..models import local_or_hub, needs_second_model, reference_model_args
from .adapter import Adapter, default_targets, from_file, lora
from .model import Model, read_model
from .weights import DTYPE_BYTES, Format
from .workload import FULL_LOGITS, Reference, Sharding, Workload, Zero

if TYPE_CHECKING:
    from trl import ModelConfig

    from ..config import Config
    from ..methods import MethodConfig
    from ..run_config import Optimizations

ASSUMED_LENGTH = 1024  # where maxLength sets no limit: TRL's default


def workload_of(config: Config) -> Workload:
    """What the run will hold. Raises what read_model raises, and ValueError where nothing can be foretold."""
    run, model_args, args = config.run, config.model_args, config.training_args
    model = _model(model_args, args, config.method.name)
    weights = _format(model_args, args, model, config.method.name)
    processes = run.nodes * run.processesPerNode
    workload = Workload(
        model=model,
        weights=weights,
        method=config.method.name,
        adapter=_adapter(model, config),
        reference=_reference(config, model) if config.method.has_reference else None,
        reference_pass=config.method.has_reference and not args.precompute_ref_log_probs,
        batch=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        length=args.max_length or ASSUMED_LENGTH,
        checkpointing=bool(args.gradient_checkpointing),
        autocast=bool(args.bf16 or args.fp16),
        optimizer=getattr(args.optim, "value", args.optim),
        attention=model_args.attn_implementation or "sdpa",
        device=run.device,
        processes=processes,
        sharding=sharding(args.fsdp, args.fsdp_config, args.deepspeed, processes, model.hidden),
    )
    return _with_optimizations(workload, run.optimizations, args)


def _with_optimizations(workload: Workload, switches: Optimizations, args: MethodConfig) -> Workload:
    """The trainer's own speed-ups, by the rules of fast/circumstances.py."""
    from ..fast.circumstances import Circumstances, told_how_to_checkpoint

    known = Circumstances(
        architecture=workload.model.model_type,
        device="cuda" if workload.device == "gpu" else "cpu",
        attention=workload.attention,
        max_length=args.max_length,
        is_sharded=workload.sharding != Sharding(),
        is_compiled=bool(args.torch_compile),
        replaces_layers=bool(args.use_liger_kernel),
        autocasts=workload.autocast,
        has_lora=workload.adapter is not None,
        scores_tokens=workload.method != "reward",
        checkpoints=workload.checkpointing,
        checkpoints_as_told=told_how_to_checkpoint(args),
    )
    return dataclasses.replace(
        workload,
        completion_head=switches.completionHead and known.against_scoring() is None,
        packed=switches.packedPairs and known.against_packing() is None,
        selective=switches.selectiveCheckpointing and known.against_selecting() is None,
        skip_casts=switches.skipAdapterCasts and known.against_skipping_casts() is None,
    )


def sharding(fsdp: Any, fsdp_config: Any, deepspeed: Any, processes: int, hidden: int = 0) -> Sharding:
    """What FSDP (by its `fsdp` words) or a DeepSpeed stage splits over the processes; `hidden`: the model's width."""
    if deepspeed:
        return _zero(_mapping(deepspeed), processes, hidden)
    if not fsdp or processes == 1:
        return Sharding()
    keeps_weights = "shard_grad_op" in str(fsdp) or _mapping(fsdp_config).get("reshard_after_forward") is False
    return Sharding(1 if keeps_weights else processes, processes, processes, processes)


def _zero(deepspeed: dict[str, Any], processes: int, hidden: int) -> Sharding:
    """ZeRO (Rajbhandari et al. 2020): stage 1 splits the optimizer, 2 gradients too, 3 weights and reference too."""
    settings = deepspeed.get("zero_optimization") or {}
    stage = int(settings.get("stage", 0))
    weights, gradients, optimizer = (processes if stage >= least else 1 for least in (3, 2, 1))
    # `auto` is transformers' word: sizes by the model's width
    bucket = _size(settings, "reduce_bucket_size", Zero.bucket, auto=hidden**2)
    buffers = 2 if stage < 3 and settings.get("overlap_comm") else 1
    zero = Zero(
        stage,
        bucket=buffers * bucket if stage >= 1 and settings.get("contiguous_gradients", True) else 0,
        persists=_size(settings, "stage3_param_persistence_threshold", Zero.persists, auto=10 * hidden),
        host_optimizer=stage >= 1 and _leaves_gpu(settings.get("offload_optimizer")),
        host_weights=stage == 3 and _leaves_gpu(settings.get("offload_param")),
    )
    return Sharding(weights, gradients, optimizer, weights, zero)


def _size(settings: dict[str, Any], name: str, default: int, auto: int) -> int:
    value = settings.get(name, default)
    return auto if value == "auto" else int(value)


def _leaves_gpu(offload: Any) -> bool:
    """Whether an `offload_...` section of a ZeRO configuration names another place than the GPU."""
    return isinstance(offload, dict) and offload.get("device", "none") != "none"


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping, its JSON text, or the file that holds it."""
    return zero.read(value) if value else {}


def _model(model_args: ModelConfig, args: MethodConfig, method: str) -> Model:
    path = local_or_hub(model_args.model_name_or_path, "spec.model.modelNameOrPath")
    revision = (args.model_init_kwargs or {}).get("revision", model_args.model_revision)
    return read_model(path, revision, labels=1 if method == "reward" else None)


def _format(model_args: ModelConfig, args: MethodConfig, model: Model, method: str) -> Format:
    """ORPO and CPO prepare quantized models as PEFT once did: everything that is not quantized becomes fp32."""
    dtype = (args.model_init_kwargs or {}).get("dtype", model_args.dtype)
    name = model.stored_dtype if dtype in ("auto", None) else str(dtype).removeprefix("torch.")
    bits: Any = 4 if model_args.load_in_4bit else 8 if model_args.load_in_8bit else None
    width = 4 if bits and method in FULL_LOGITS else DTYPE_BYTES[name]
    if args.deepspeed and (args.bf16 or args.fp16) and not bits:
        width = 2  # DeepSpeed has no autocast: it casts what is loaded
    return Format(width, bits, bool(model_args.use_bnb_nested_quant))


def _reference(config: Config, model: Model) -> Reference | None:
    if not needs_second_model(config.run, config.model_args, config.training_args):
        return None
    own = config.run.referenceModel.model
    reference_args, _ = reference_model_args(config.model_args, config.training_args, own)
    if "model_name_or_path" in own or "model_revision" in own:
        model = _model(reference_args, config.training_args, config.method.name)
    return Reference(model, _format(reference_args, config.training_args, model, config.method.name))


def _adapter(model: Model, config: Config) -> Adapter | None:
    """`disable_dropout` of DPO, KTO, ORPO, CPO and reward (TRL's default) is the adapter's dropout too."""
    model_args, given = config.model_args, config.run.adapterNameOrPath
    drops = not getattr(config.training_args, "disable_dropout", False)
    if given:
        return _given_adapter(model, given, drops, copies=1 if config.method.has_reference else 0)
    if not model_args.use_peft:
        return None
    return lora(
        model,
        model_args.lora_r,
        model_args.lora_target_modules or default_targets(model.model_type),
        dora=model_args.use_dora,
        dropout=model_args.lora_dropout if drops else 0.0,
        modules_to_save=model_args.lora_modules_to_save or (),
    )


def _given_adapter(model: Model, name_or_path: str, drops: bool, copies: int) -> Adapter:
    """An adapter that was trained before; TRL keeps a frozen copy of it as the reference."""
    from huggingface_hub import hf_hub_download, parse_local_safetensors_file_metadata

    path = Path(local_or_hub(name_or_path, "spec.model.adapterNameOrPath"))
    if path.is_dir():
        config, file = path / "adapter_config.json", path / "adapter_model.safetensors"
    else:
        config, file = (
            Path(hf_hub_download(name_or_path, name)) for name in ("adapter_config.json", "adapter_model.safetensors")
        )
    described = json.loads(config.read_text(encoding="utf-8"))
    header = parse_local_safetensors_file_metadata(file)
    shapes = {name: tuple(info.shape) for name, info in header.tensors.items()}
    dropout = described.get("lora_dropout", 0.0) if drops else 0.0
    return from_file(model, shapes, described["r"], dropout=dropout, frozen_copies=copies)
