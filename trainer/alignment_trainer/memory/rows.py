"""How long the rows of a dataset really are, so that a `maxLength` far above them refuses nothing that would fit.

Bytes of text are counted for every row, by Arrow and without Python objects; only the rows with most are tokenized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

    from ..config import Config

_SIDES = ("chosen", "rejected")  # one sequence each, the prompt before both
_SEQUENCE = ("prompt", "completion", "messages")
TOKENIZED_ROWS = 16
MARGIN = 1.1  # the row with most bytes need not be the one with most tokens
TEMPLATE_TOKENS = 64  # around a conversation, and 8 around each of its messages
MESSAGE_TOKENS = 8


def longest_sequence(config: Config, dataset: Any) -> int | None:
    """At most so many tokens has the longest sequence; None where it cannot be told (streams, images, packing).

    Raises what loading the tokenizer raises.
    """
    if not hasattr(dataset, "data") or getattr(config.training_args, "packing", False):
        return None
    sides = sequences_of(dataset.column_names, getattr(config.training_args, "dataset_text_field", "text"))
    table = dataset.data.table
    sizes = [size for side in sides if (size := row_bytes(table, side)) is not None]
    if not sides or len(sizes) < len(sides):
        return None
    from ..models import get_processing_class

    adapter = config.run.adapterNameOrPath
    processing_class = get_processing_class(config.model_args, config.training_args, config.method.name, adapter)
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    found = (tokens(tokenizer, row, side) for side, size in zip(sides, sizes, strict=True) for row in most(table, size))
    return round(MARGIN * max(found, default=0))


def sequences_of(columns: list[str], text_field: str) -> list[tuple[str, ...]]:
    """The columns that make up each sequence of a row; empty for rows that are tokenized already or hold images."""
    known = set(columns)
    if known & {"images", "image", "input_ids", "chosen_ids"}:
        return []
    prompt = ("prompt",) if "prompt" in known else ()
    if known >= set(_SIDES):
        return [(*prompt, side) for side in _SIDES]
    one = tuple(name for name in (*_SEQUENCE, text_field) if name in known)
    return [one] if one else []


def row_bytes(table: pyarrow.Table, columns: tuple[str, ...]) -> np.ndarray | None:
    """[rows] bytes of UTF-8 in these columns together; None where one is neither text nor messages of text."""
    sizes = [text_bytes(table.column(name).combine_chunks()) for name in columns]
    known = [size for size in sizes if size is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(sizes) else None


def text_bytes(array: pyarrow.Array) -> np.ndarray | None:
    """[rows] bytes of the texts, or of the `content` of each row's messages."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if _is_text(kind):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return None
    if kind.value_type.get_field_index("content") < 0 or not _is_text(kind.value_type.field("content").type):
        return None
    size = text_bytes(pc.struct_field(pc.list_flatten(array), "content"))
    rows = pc.list_parent_indices(array).to_numpy(zero_copy_only=False)
    return np.bincount(rows, weights=size, minlength=len(array))


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def most(table: pyarrow.Table, size: np.ndarray) -> list[dict[str, Any]]:
    """The rows with most bytes."""
    import numpy as np

    return [table.slice(int(row), 1).to_pylist()[0] for row in np.argsort(size)[-TOKENIZED_ROWS:]]


def tokens(tokenizer: Any, row: dict[str, Any], columns: tuple[str, ...]) -> int:
    """Tokens of one sequence, with room for the chat template."""
    values = [row[name] for name in columns]
    messages = [message for value in values if isinstance(value, list) for message in value]
    texts = [value for value in values if isinstance(value, str)] + [message["content"] or "" for message in messages]
    counted = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False).input_ids)
    return counted + 2 + (TEMPLATE_TOKENS + MESSAGE_TOKENS * len(messages) if messages else 0)
