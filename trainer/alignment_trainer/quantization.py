"""bitsandbytes: the recipe's words as its config, where its layers go, and one defect of its CPU path mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .exits import UserError

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel
    from trl import ModelConfig

    from .methods import MethodConfig


def resolve_dtype(model_args: ModelConfig, training_args: MethodConfig) -> torch.dtype | str | None:
    """ModelConfig.dtype as torch's type; "auto" stays, except with 4 bits.

    A 4-bit layer must know what it computes in, and stock TRL dies on "auto": there it is the checkpoint's own dtype.
    """
    import torch

    if model_args.dtype == "auto" and model_args.load_in_4bit:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(
            str(model_args.model_name_or_path),
            revision=model_args.model_revision,
            trust_remote_code=training_args.trust_remote_code,
        )
        return getattr(config.get_text_config(), "dtype", None) or torch.float32
    if model_args.dtype in ("auto", None):
        return model_args.dtype
    return getattr(torch, model_args.dtype)


def get_quantization_config(model_args: ModelConfig, dtype: Any) -> BitsAndBytesConfig | None:
    """TRL's `get_quantization_config`, with a resolved compute dtype. Raises UserError (storage dtype)."""
    from transformers import BitsAndBytesConfig

    if model_args.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    if not model_args.load_in_4bit:
        return None
    try:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_compute_dtype=dtype,  # TRL's choice too: the layers compute in the dtype of the other weights
            bnb_4bit_quant_type=model_args.bnb_4bit_quant_type,
            bnb_4bit_use_double_quant=model_args.use_bnb_nested_quant,
            bnb_4bit_quant_storage=model_args.bnb_4bit_quant_storage,
        )
    except ValueError as error:
        raise UserError(
            f"spec.model.bnb4bitQuantStorage is {model_args.bnb_4bit_quant_storage!r}: {error}",
            cure="Use one of float16, float32, int8, uint8, float64, bfloat16.",
        ) from error


def check_quantization(model_args: ModelConfig, has_adapter: bool) -> None:
    """Quantized weights cannot be trained themselves; transformers says so only when all of them are loaded."""
    if (model_args.load_in_4bit or model_args.load_in_8bit) and not has_adapter:
        bits = "4" if model_args.load_in_4bit else "8"
        raise UserError(
            f"spec.model.loadIn{bits}bit without an adapter: quantized weights cannot be trained.",
            cure="Set spec.model.usePeft (and loraTargetModules), or train without quantization.",
        )


def get_kbit_device_map() -> dict[str, Any]:
    """Quantized layers are placed while they are loaded: on this process's GPU, else on the CPU."""
    import torch

    return {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"}


def keep_differentiable_on_cpu(model: PreTrainedModel) -> PreTrainedModel:
    """Keep bitsandbytes' inference-only kernel out of training on CPUs with AVX512_BF16.

    There the first forward in eval mode (evaluation, precomputed reference) repacks a Linear4bit's weight for a kernel
    without autograd; every later training step then runs through it too and no gradient passes the layer, without an
    error (bitsandbytes 0.50.2, nn/modules.py, Linear4bit.forward). The CPU is asked once, when a layer is made.
    """
    if not getattr(model, "is_loaded_in_4bit", False):
        return model
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit) and module.weight.device.type == "cpu":
            module.support_avx512bf16_for_cpu = False
    return model
