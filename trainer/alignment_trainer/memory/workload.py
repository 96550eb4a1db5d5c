"""Everything that the memory of a run depends on. `dataclasses.replace` asks what a change of the spec would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .adapter import Adapter
from .model import Model, Tensor
from .weights import Format

# Sequences that one row of a batch becomes: TRL concatenates chosen and rejected
SEQUENCES = {"dpo": 2, "orpo": 2, "cpo": 2, "reward": 2, "sft": 1, "kto": 1}
FULL_LOGITS = ("orpo", "cpo")  # the methods without TRL's fused LM head


@dataclass(frozen=True)
class Reference:
    """A second model."""

    model: Model
    weights: Format


@dataclass(frozen=True)
class Zero:
    """What a ZeRO configuration says beside the stage's divisions. Sizes in elements; the defaults are DeepSpeed's."""

    stage: int
    bucket: int = 500_000_000  # the buffers in which gradients are reduced, together
    persists: int = 100_000  # stage 3 keeps parameters of at most so many elements whole
    host_optimizer: bool = False  # in the host's memory (ZeRO-Offload): optimizer, fp32 weights, gradients
    host_weights: bool = False  # so are weights, adapter and reference (offload_param)


@dataclass(frozen=True)
class Sharding:
    """Over how many processes each kind of state is split. DDP: 1, 1, 1; ZeRO-3 and FSDP: all."""

    weights: int = 1
    gradients: int = 1
    optimizer: int = 1
    reference: int = 1
    zero: Zero | None = None


@dataclass(frozen=True)
class Workload:
    """One process of a run. `length` in tokens of the longest sequence, `batch` in rows of the dataset."""

    model: Model
    weights: Format
    method: str = "dpo"
    adapter: Adapter | None = None
    reference: Reference | None = None  # a second model; SharedAdapter has none
    reference_pass: bool = True  # the reference scores each batch while training
    batch: int = 8
    accumulation: int = 1
    length: int = 1024
    checkpointing: bool = True
    autocast: bool = True
    optimizer: str = "adamw_torch_fused"
    attention: str = "sdpa"
    device: Literal["cpu", "gpu"] = "gpu"
    processes: int = 1
    sharding: Sharding = Sharding()
    packed: bool = False
    completion_head: bool = False
    skip_casts: bool = False
    selective: bool = False  # checkpointed layers keep their products (fast/selective.py)
    shared_tokens: int = 0  # of each packed pair, the prompt's: they pass the model once

    @property
    def sequences(self) -> int:
        return self.batch * SEQUENCES[self.method]

    @property
    def tokens(self) -> int:
        """Tokens that the layers of one micro-batch see, when every sequence is as long as allowed."""
        return self.sequences * self.length - (self.batch * self.shared_tokens if self.packed else 0)

    @property
    def fused_head(self) -> bool:
        """Whether logits exist only in tiles: TRL's fused head, or ours (ORPO and CPO have none of TRL's)."""
        return self.completion_head or self.packed or self.method not in FULL_LOGITS

    @property
    def matmul_bytes(self) -> int:
        """Of an element where torch multiplies matrices: attention, adapters, the LM head."""
        return 2 if self.autocast else self.weights.dtype_bytes

    @property
    def compute_bytes(self) -> int:
        """Of an element that a linear layer puts out; bitsandbytes' layers do not heed autocast."""
        return self.weights.dtype_bytes if self.weights.is_quantized else self.matmul_bytes

    @property
    def adapter_bytes(self) -> int:
        """PEFT keeps adapters in fp32, TRL casts those over quantized weights to bf16, DeepSpeed all to its dtype."""
        if self.sharding.zero and self.autocast:
            return 2
        return 2 if self.weights.is_quantized and self.method not in FULL_LOGITS else 4

    @property
    def host_optimizer(self) -> bool:
        return self.device == "gpu" and self.sharding.zero is not None and self.sharding.zero.host_optimizer

    @property
    def host_weights(self) -> bool:
        return self.device == "gpu" and self.sharding.zero is not None and self.sharding.zero.host_weights

    @property
    def keeps_gradients(self) -> bool:
        """ZeRO-3 allocates its part of the gradients, and its bucket, once."""
        return self.sharding.zero is not None and self.sharding.zero.stage == 3

    def trainable(self) -> Iterator[tuple[Tensor, int]]:
        """Every trained tensor and the bytes of one element."""
        if self.adapter is None:
            yield from ((tensor, self.weights.dtype_bytes) for tensor in self.model.tensors)
            return
        whole = 2 if self.weights.is_quantized else self.weights.dtype_bytes
        yield from ((tensor, self.adapter_bytes) for tensor in self.adapter.tensors)
        yield from ((tensor, 4) for tensor in self.adapter.magnitudes)
        yield from ((tensor, whole) for tensor in self.adapter.saved)

    def trainable_bytes(self) -> int:
        return sum(tensor.size * width for tensor, width in self.trainable())

    def trains(self, tensor: Tensor) -> bool:
        return self.adapter is None or tensor in self.adapter.saved
