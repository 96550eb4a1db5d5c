"""What autograd keeps between the forward and the backward pass, per token, read off transformers' decoder layers.

The layer is transformers' Llama and its like: RMSNorm, q/k/v/o, rotary embedding, attention, gated MLP. Every term
below is a tensor that an operation of that layer saves; the sum agrees with what saved-tensor hooks count (35 h + 8 i
bytes a token and layer with fp32 weights under bf16 autocast, 42 h + 16 i in fp32; h hidden size, i MLP's width).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .model import Tensor
from .workload import Workload

_ATTENTION_OUT = re.compile(r"attn\.(o_proj|out_proj|dense|c_proj|wo)$|attention\.(dense|o_proj|wo)$")
_MLP = re.compile(r"\.(mlp|feed_forward|block_sparse_moe|ffn)\.")
_MLP_OUT = re.compile(r"\.(down_proj|fc2|w2|dense_4h_to_h|mlp\.c_proj)$")
_FP32 = 4


def kept(workload: Workload) -> int:
    """Bytes kept of one micro-batch at the end of the forward pass, the LM head's apart (head.py)."""
    layers = workload.model.layers
    boundary = workload.tokens * workload.model.hidden * residual_bytes(workload)  # a layer's input
    if workload.checkpointing:
        return layers * (boundary + _selected(workload)) + mask_bytes(workload)
    return layers * layer(workload) + final_norm(workload) + mask_bytes(workload)


def layer(workload: Workload) -> int:
    """Bytes that one decoder layer keeps; with checkpointing they exist for one layer at a time."""
    known = set(workload.model.linears)
    linears = [tensor for tensor in workload.model.of_layer(0) if tensor in known]
    per_token = (
        _norms(workload) + _linear_inputs(workload, linears) + _attention(workload) + _mlp(workload) + _dora(workload)
    )
    return workload.tokens * per_token + attention_matrices(workload) + weight_casts(workload, linears)


def _selected(workload: Workload) -> int:
    """What a checkpointed layer keeps beside its input (fast/selective.py): products but for the last, attention."""
    if not workload.selective:
        return 0
    model, width = workload.model, workload.matmul_bytes
    known = set() if workload.weights.is_quantized else set(model.linears)
    products = [tensor for tensor in model.of_layer(0) if tensor in known and not _MLP_OUT.search(tensor.module)]
    attention = width * model.heads * model.head_dim + _FP32 * model.heads if workload.packed else 0
    return workload.tokens * (width * sum(tensor.shape[0] for tensor in products) + attention)


def working_set(workload: Workload) -> int:
    """What the backward pass of one layer has in hand beside what is kept.

    Most in the MLP: the gradients of its two branches, which take the place of its product's, and the residual's twice.
    """
    model = workload.model
    per_token = 2 * workload.compute_bytes * model.intermediate + 2 * residual_bytes(workload) * model.hidden
    return workload.tokens * per_token + _dequantized(workload)


def forward_only(workload: Workload) -> int:
    """What a pass without gradients has in hand at most: the reference's, or the KL batch's of KTO."""
    model, compute = workload.model, workload.compute_bytes
    mlp = 3 * compute * model.intermediate + (residual_bytes(workload) + _FP32) * model.hidden
    return workload.tokens * mlp + _dequantized(workload)


def final_norm(workload: Workload) -> int:
    trained = residual_bytes(workload) if workload.adapter is None else 0
    return workload.tokens * workload.model.hidden * (_FP32 + trained)


def residual_bytes(workload: Workload) -> int:
    """Of an element of the residual stream, which has the dtype of the embedding."""
    return workload.weights.dtype_bytes


def mask_bytes(workload: Workload) -> int:
    """The mask of a padded batch: a boolean for every pair of tokens. A packed batch has none of its own."""
    return 0 if workload.packed or _is_maskless(workload) else workload.sequences * workload.length**2


def attention_matrices(workload: Workload) -> int:
    """What attention keeps for every pair of tokens.

    sdpa turns the mask into numbers to add, in each layer anew (packed: one for both sequences of a pair); eager keeps
    the probabilities, in fp32 and as computed.
    """
    pairs = workload.sequences * workload.length**2
    if workload.attention == "eager":
        return pairs * workload.model.heads * (_FP32 + workload.matmul_bytes)
    if _is_maskless(workload):
        return 0
    return pairs * workload.matmul_bytes // (workload.sequences // workload.batch if workload.packed else 1)


def weight_casts(workload: Workload, weights: Iterable[Tensor]) -> int:
    """Autocast's bf16 copies of fp32 weights, kept until the backward pass has used them."""
    if not workload.autocast:
        return 0
    base = [] if workload.weights.is_quantized or workload.weights.dtype_bytes == 2 else list(weights)
    return 2 * sum(tensor.size for tensor in base)


def _norms(workload: Workload) -> int:
    """RMSNorm squares its input in fp32; a trained scale keeps the normalized input as well."""
    hidden = workload.model.hidden
    count = sum(1 for tensor in workload.model.of_layer(0) if tensor.shape == (hidden,) and "norm" in tensor.name)
    trained = residual_bytes(workload) if workload.adapter is None else 0
    return count * hidden * (_FP32 + trained)


def _attention(workload: Workload) -> int:
    """q, k and v as attention takes them, its output, and a log-sum-exp for every head.

    With a mask, transformers repeats the heads of k and v to those of q before sdpa. On GPUs packed rows are computed
    segment by segment: the second one copies the k and v that it sees, and the outputs are joined into another tensor.
    """
    model = workload.model
    heads = 2 * model.heads + 2 * (model.kv_heads if _is_maskless(workload) else model.heads)
    if workload.packed and not _is_maskless(workload):
        heads += 2 * model.heads
    return workload.matmul_bytes * heads * model.head_dim + _FP32 * model.heads


def _mlp(workload: Workload) -> int:
    """The activation keeps its input; the product with the other branch keeps both factors."""
    return 3 * workload.compute_bytes * workload.model.intermediate


def _linear_inputs(workload: Workload, linears: list[Tensor]) -> int:
    """What the linear layers keep of their inputs; those that read the same tensor share it unless each casts it."""
    attention_out = [t for t in linears if _ATTENTION_OUT.search(t.module)]
    mlp_out = [t for t in linears if _MLP_OUT.search(t.module)]
    rest = [t for t in linears if t not in attention_out and t not in mlp_out]
    mlp_in = [t for t in rest if _MLP.search(t.name)]
    attention_in = [t for t in rest if t not in mlp_in]
    residual = residual_bytes(workload)
    inner = _readers(workload, attention_in, residual) + _readers(workload, mlp_in, residual)
    attended = _readers(workload, attention_out, workload.matmul_bytes, already_kept=True)
    return inner + attended + _readers(workload, mlp_out, workload.compute_bytes)


def _readers(workload: Workload, linears: list[Tensor], input_bytes: int, already_kept: bool = False) -> int:
    """Bytes a token kept by the linear layers that read one tensor of `input_bytes` an element.

    A frozen layer needs no input for its backward pass; bitsandbytes' 8-bit one keeps it all the same.
    """
    shared, copies = workload.weights.bits == 8 and bool(linears), 0
    for linear in linears:
        if workload.adapter is None:
            shared |= input_bytes == workload.compute_bytes
            copies += 0 if input_bytes == workload.compute_bytes else workload.compute_bytes * linear.shape[1]
        elif linear in workload.adapter.target_set:
            own = _adapter_input(workload, linear, input_bytes)
            shared |= own == 0
            copies += own + _adapter_compute(workload) * workload.adapter.rank
    return copies + (input_bytes * linears[0].shape[1] if shared and not already_kept else 0)


def _adapter_input(workload: Workload, linear: Tensor, input_bytes: int) -> int:
    """Bytes a token that lora_A keeps of its own; 0 where it keeps the layer's input itself.

    PEFT casts the input to the adapter's dtype and autocast casts it back: each is a copy. So is dropout's output,
    which comes with a mask (a byte an element on GPUs, the input's dtype on CPUs).
    """
    assert workload.adapter is not None
    cast, compute = workload.adapter_bytes, _adapter_compute(workload)
    if workload.weights.is_quantized and workload.autocast:
        cast = input_bytes  # PEFT's bitsandbytes layers leave the cast to autocast
    if workload.skip_casts and workload.autocast:
        cast = input_bytes
    if workload.adapter.dropout:
        mask = 1 if workload.device == "gpu" else cast
        return (mask + compute) * linear.shape[1]
    return 0 if input_bytes == cast == compute else compute * linear.shape[1]


def _adapter_compute(workload: Workload) -> int:
    return 2 if workload.autocast else workload.adapter_bytes


def _dora(workload: Workload) -> int:
    """DoRA scales what LoRA and the base layer put out, and keeps both."""
    if workload.adapter is None or not workload.adapter.magnitudes:
        return 0
    outputs = sum(t.shape[0] for t in workload.adapter.targets if t.layer == 0)
    return 2 * workload.compute_bytes * outputs


def _dequantized(workload: Workload) -> int:
    """bitsandbytes unpacks one layer at a time."""
    if not workload.weights.is_quantized:
        return 0
    return workload.compute_bytes * max((tensor.size for tensor in workload.model.linears), default=0)


def _is_maskless(workload: Workload) -> bool:
    """Flash and FlexAttention know the sequences' bounds and need no mask, nor k and v for every head.

    So does the attention of packed rows on the CPU (fast/row_attention.py).
    """
    of_rows = workload.packed and workload.device == "cpu"
    return of_rows or "flash" in workload.attention or workload.attention == "flex_attention"
