"""What speaks against an optimization: a table from what a run is to the reason why a piece stays off.

On by default only where it was tested: architectures of TESTED, one process or plain data parallelism. Whatever is
unknown here runs as TRL runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .attention import PACKABLE

# model_type of transformers' text configs; SmolLM is llama, SmolLM3 smollm3, text-only Gemma 3 gemma3_text
TESTED = frozenset({"llama", "smollm3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3"})
_LOGIT_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


@dataclass(frozen=True)
class Circumstances:
    """Of one model in one run."""

    architecture: str
    device: str = "cpu"
    attention: str = "sdpa"
    window: int | None = None  # the shortest active attention window in tokens
    max_length: int | None = 1024
    is_vision: bool = False
    is_moe: bool = False
    scales_logits: bool = False
    caps_attention: bool = False
    is_sharded: bool = False  # FSDP, DeepSpeed, tensor, context or sequence parallelism, layers on several devices
    is_compiled: bool = False
    replaces_layers: bool = False  # Liger, hub kernels
    offloads_activations: bool = False
    adds_noise: bool = False  # NEFTune
    learns_prompt: bool = False  # PEFT's prompt-learning methods
    adapts_head: bool = False
    autocasts: bool = True
    has_lora: bool = True
    scores_tokens: bool = True  # all but reward models
    drops_out: bool = False
    checkpoints: bool = True
    checkpoints_as_told: bool = False  # gradient_checkpointing_kwargs
    multiplies_bf16: bool = True
    has_bf16_instructions: bool = False

    @classmethod
    def of(cls, trainer: Any, model: Any) -> Circumstances:
        """Those of `model` (a causal LM, maybe with LoRA layers) in TRL's `trainer`."""
        import torch
        from peft.tuners.lora import LoraLayer
        from peft.tuners.tuners_utils import BaseTunerLayer

        from . import wide_products

        args, config = trainer.args, model.config.get_text_config()
        adapters = getattr(trainer.model, "peft_config", {}).values()
        return cls(
            architecture=model.config.model_type,
            device=model.device.type,
            attention=config._attn_implementation,
            window=_window(config),
            max_length=args.max_length,
            is_vision=getattr(trainer, "_is_vlm", False),
            is_moe=hasattr(config, "output_router_logits"),
            scales_logits=any(getattr(config, name, None) not in (None, 1, 1.0) for name in _LOGIT_SCALES),
            caps_attention=getattr(config, "attn_logit_softcapping", None) is not None,
            is_sharded=_is_sharded(trainer, model),
            is_compiled=args.torch_compile,
            replaces_layers=args.use_liger_kernel or getattr(model, "use_kernels", False),
            offloads_activations=getattr(args, "activation_offloading", False),
            adds_noise=args.neftune_noise_alpha is not None,
            learns_prompt=any(adapter.is_prompt_learning for adapter in adapters),
            adapts_head=isinstance(model.get_output_embeddings(), BaseTunerLayer),
            autocasts=args.bf16 or args.fp16,
            has_lora=any(isinstance(module, LoraLayer) for module in model.modules()),
            scores_tokens=model.get_output_embeddings() is not None,
            drops_out=_drops_out(config, model),
            checkpoints=bool(args.gradient_checkpointing),
            checkpoints_as_told=told_how_to_checkpoint(args),
            multiplies_bf16=args.bf16 or model.dtype == torch.bfloat16,
            has_bf16_instructions=wide_products.has_instructions(),
        )

    def against_any(self) -> str | None:
        """Why this model, as it runs, is left to TRL."""
        return _first(
            (self.is_vision, "vision-language models are not supported"),
            (self.is_moe, "mixture-of-experts models (auxiliary loss) are not supported"),
            (self.scales_logits, "the model scales its logits"),
            (self.architecture not in TESTED, f"not tested with the architecture {self.architecture}"),
            (self.device not in ("cpu", "cuda"), f"not tested on {self.device}"),
            (self.is_sharded, "the model is sharded (FSDP, DeepSpeed, parallel layers)"),
            (self.is_compiled, "torch_compile is on"),
            (self.replaces_layers, "the model's layers are replaced by kernels (use_liger_kernel, use_kernels)"),
            (self.offloads_activations, "activation_offloading is on"),
            (self.learns_prompt, "prompt-learning adapters lengthen the sequence"),
            (self.adapts_head, "an adapter is on the LM head"),
        )

    def against_scoring(self) -> str | None:
        return self.against_any() or _first((not self.scores_tokens, "a reward model scores no tokens"))

    def against_packing(self) -> str | None:
        longest = self.max_length or float("inf")
        return self.against_scoring() or _first(
            (self.caps_attention, "attention logits are capped (attn_logit_softcapping)"),
            (self.adds_noise, "NEFTune's noise depends on the length of a row"),
            (self.attention not in PACKABLE, f"attention {self.attention} takes no packed rows; sdpa does"),
            (
                self.window is not None and self.window < longest,
                f"the sliding attention window of {self.window} tokens is shorter than max_length",
            ),
        )

    def against_fusing_sums(self) -> str | None:
        return _first(
            (not self.has_lora, "the model has no LoRA layers"),
            (self.is_compiled, "torch_compile is on"),
            (self.is_sharded, "the model is sharded (FSDP, DeepSpeed, parallel layers)"),
        )

    def against_selecting(self) -> str | None:
        return self.against_any() or _first(
            (not self.checkpoints, "gradient checkpointing is off"),
            (self.checkpoints_as_told, "gradient_checkpointing_kwargs say how to checkpoint"),
            (self.device != "cpu", "not tested on GPUs"),
        )

    def against_widening(self) -> str | None:
        return _first(
            (self.device == "cuda", "not needed on GPUs"),
            (self.device != "cpu", f"not tested on {self.device}"),
            (not self.multiplies_bf16, "nothing is multiplied in bf16"),
            (self.has_bf16_instructions, "the CPU has instructions for bf16"),
        )

    def against_skipping_casts(self) -> str | None:
        return self.against_fusing_sums() or _first(
            (not self.autocasts, "without autocast (bf16, fp16) the casts are needed"),
        )


def told_how_to_checkpoint(args: Any) -> bool:
    """Whether the recipe asks for another checkpointing than transformers' usual one."""
    told = args.gradient_checkpointing_kwargs or {}
    return any(value for name, value in told.items() if name != "every_n_layers") or told.get("every_n_layers", 1) != 1


def _first(*objections: tuple[bool, str]) -> str | None:
    return next((reason for applies, reason in objections if applies), None)


def _window(config: Any) -> int | None:
    """Sliding windows count where a layer uses them: all layers unless the config says which."""
    layers = getattr(config, "layer_types", None)
    if layers is not None and "sliding_attention" not in layers:
        return None
    return getattr(config, "sliding_window", None)


def _is_sharded(trainer: Any, model: Any) -> bool:
    placed = set((getattr(model, "hf_device_map", None) or {}).values())
    is_parallel = trainer.accelerator.parallelism_config is not None
    return trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or is_parallel or len(placed) > 1


def _drops_out(config: Any, model: Any) -> bool:
    import torch

    layers = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    return layers or bool(getattr(config, "attention_dropout", 0.0))
