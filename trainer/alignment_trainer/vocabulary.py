"""Adapters that brought tokens along: SFT with `chat_template_path` gives a model the vocabulary of another tokenizer.

The adapter is then good for a base model with as many embeddings, which the base on the hub does not have; and what it
learnt of the new tokens is kept by PEFT in a way that TRL's copy of an adapter, the reference of DPO and KTO, misses.
"""

from __future__ import annotations

from typing import Any

from .zero import true_shape

_WEIGHTS = "adapter_model.safetensors"
_TOKENIZER = "tokenizer_config.json"
# Whole embeddings or heads in an adapter: resized (saved as they are), trained (modules_to_save), with trained tokens.
_WHOLE = ("weight", "base_layer.weight", "token_adapter.base_layer.weight")


def embedding_rows(model: Any) -> int:
    """Tokens that `model` has an embedding for."""
    return true_shape(model.get_input_embeddings().weight)[0]


def brings_tokenizer(adapter: str) -> bool:
    """Whether the adapter, a folder or a hub repository, has a tokenizer beside it. False also if nobody can say."""
    return _file(adapter, _TOKENIZER) is not None


def fit_vocabulary(model: Any, adapter: str, tokens: int) -> None:
    """Give `model`, a base model, the number of embeddings [rows] that the adapter was trained with.

    That is the size of the embeddings in the adapter; one that has none needs `tokens` rows at least, those of its
    tokenizer. Nothing happens where the number is right already.
    """
    have = embedding_rows(model)
    wanted = _rows(model, adapter) or max(tokens, have)
    if wanted != have:
        model.resize_token_embeddings(wanted, mean_resizing=False)  # the rows come with the adapter


def copy_trained_tokens(model: Any) -> None:
    """Let every adapter that is added to `model` (a PeftModel) begin with the trained tokens of its first one.

    TRL adds `ref` and copies what is called `.default.`; PEFT calls trained tokens `.default`.
    """
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    layers = [layer for layer in model.modules() if isinstance(layer, TrainableTokensLayer)]
    if not layers:
        return
    add_adapter = model.add_adapter

    def add_and_copy(adapter_name: str, *args: Any, **kwargs: Any) -> None:
        add_adapter(adapter_name, *args, **kwargs)
        for layer in layers:
            tokens = layer.trainable_tokens_delta
            tokens[adapter_name].data.copy_(tokens["default"].data)

    model.add_adapter = add_and_copy


def _rows(model: Any, adapter: str) -> int | None:
    """Of the embeddings in the adapter's file, from its header; None where it has none."""
    from safetensors import safe_open

    file = _file(adapter, _WEIGHTS)
    if file is None:
        return None
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [name for name, module in model.named_modules() if any(module is layer for layer in layers)]
    with safe_open(file, framework="numpy") as tensors:
        keys = {f"base_model.model.{name}.{rest}" for name in names for rest in _WHOLE} & set(tensors.keys())
        return max((tensors.get_slice(key).get_shape()[0] for key in keys), default=None)


def _file(adapter: str, name: str) -> str | None:
    from transformers.utils import cached_file

    quietly = ("missing_entries", "connection_errors", "gated_repo")
    return cached_file(adapter, name, **{f"_raise_exceptions_for_{kind}": False for kind in quietly})
