"""The tensors of a model, exactly, without its weights: safetensors headers and config.json.

A safetensors file begins with the length of its header (8 bytes) and the header, a JSON object of names, dtypes and
shapes; huggingface_hub reads it from a file or, with two range requests, from the hub.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_LAYER = re.compile(r"\.(\d+)\.")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|wpe|word_embeddings|embed_in|embed_positions)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output|score|classifier)\.weight$")
_FUSED_EXPERTS = re.compile(r"\.experts\.")  # transformers 5 keeps experts as one 3-D parameter, which is no nn.Linear


@dataclass(frozen=True)
class Tensor:
    """A tensor's name and shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def layer(self) -> int | None:
        """The index of its decoder layer; a vision tower's layers are none."""
        match = None if "vis" in self.name else _LAYER.search(self.name)
        return int(match[1]) if match else None


@dataclass(frozen=True)
class Model:
    """A causal LM, or with `labels` a classifier over its backbone: tensors as loaded, and sizes from config.json.

    `stored_dtype` is transformers' name for the dtype of the checkpoint; `intermediate` counts the neurons of the MLP
    that a token passes (MoE: of its active experts).
    """

    tensors: tuple[Tensor, ...]
    model_type: str
    stored_dtype: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    labels: int | None = None

    @cached_property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def linears(self) -> tuple[Tensor, ...]:
        """Weights (out, in) of every nn.Linear but the output layer: what `all-linear` and bitsandbytes mean."""
        return tuple(tensor for tensor in self.tensors if _is_linear(tensor))

    @cached_property
    def layers(self) -> int:
        return len({tensor.layer for tensor in self.tensors if tensor.layer is not None})

    @cached_property
    def head(self) -> Tensor | None:
        """The output layer's weight: its own, or the embedding where they are tied. None for a classifier."""
        if self.labels is not None:
            return None
        own = next((tensor for tensor in self.tensors if _HEAD.search(tensor.name)), None)
        return own or next((tensor for tensor in self.tensors if _EMBEDDING.search(tensor.name)), None)

    def of_layer(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self.tensors if tensor.layer == index)


def read_model(folder_or_name: str, revision: str | None = None, labels: int | None = None) -> Model:
    """The model of a local folder, of the hub's cache, or of the hub. `labels`: a classifier's (reward: 1).

    Raises huggingface_hub's errors (no safetensors, no such repository), OSError, and ValueError or KeyError for a
    config.json that describes no decoder.
    """
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata, hf_hub_download

    if os.path.isdir(folder_or_name):
        folder = Path(folder_or_name)
    else:
        folder = Path(hf_hub_download(folder_or_name, "config.json", revision=revision)).parent
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    is_here = any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json"))
    if is_here or os.path.isdir(folder_or_name):
        metadata = get_local_safetensors_metadata(folder)
    else:
        metadata = get_safetensors_metadata(folder_or_name, revision=revision)
    headers = {
        name: (info.dtype, tuple(info.shape))
        for file in metadata.files_metadata.values()
        for name, info in file.tensors.items()
    }
    return describe(headers, config, labels)


def describe(headers: Mapping[str, tuple[str, tuple[int, ...]]], config: dict[str, Any], labels: int | None) -> Model:
    """Model from name -> (safetensors dtype, shape) and config.json. Raises KeyError where a size is missing."""
    text = {**config, **config.get("text_config", {})}
    heads = text.get("num_attention_heads") or text["n_head"]
    hidden = text.get("hidden_size") or text["n_embd"]
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    tensors = [Tensor(name, shape) for name, (_, shape) in headers.items()]
    return Model(
        tensors=tuple(_as_loaded(tensors, hidden, tied, labels)),
        model_type=config.get("model_type", ""),
        stored_dtype=_stored_dtype(config, text, [dtype for dtype, _ in headers.values()]),
        hidden=hidden,
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or hidden // heads,
        intermediate=_intermediate(text, hidden),
        vocabulary=text["vocab_size"],
        tied=tied,
        labels=labels,
    )


def _as_loaded(tensors: Iterable[Tensor], hidden: int, tied: bool, labels: int | None) -> Iterable[Tensor]:
    """A tied head is the embedding, also where the file repeats it; a classifier has a new head of its own."""
    for tensor in tensors:
        if not (_HEAD.search(tensor.name) and (tied or labels is not None)):
            yield tensor
    if labels is not None:
        yield Tensor("score.weight", (labels, hidden))


def _is_linear(tensor: Tensor) -> bool:
    if len(tensor.shape) != 2 or not tensor.name.endswith(".weight") or _FUSED_EXPERTS.search(tensor.name):
        return False
    return not (_EMBEDDING.search(tensor.name) or _HEAD.search(tensor.name))


def _intermediate(text: Mapping[str, Any], hidden: int) -> int:
    active = text.get("num_experts_per_tok")
    dense = text.get("intermediate_size") or text.get("n_inner") or 4 * hidden
    return active * text.get("moe_intermediate_size", dense) if active else dense


def _stored_dtype(config: Mapping[str, Any], text: Mapping[str, Any], dtypes: list[str]) -> str:
    """config.json's word (older ones: `torch_dtype`), else the commonest dtype of the file."""
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    said = next((source[key] for source in (config, text) for key in ("dtype", "torch_dtype") if source.get(key)), None)
    return said or names.get(max(set(dtypes), key=dtypes.count), "float32")
