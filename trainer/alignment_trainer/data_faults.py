"""Whether a library's exception is the fault of the dataset's rows, or a defect of the code that handles them.

Both come out of the same functions (a map over the rows, a collator), and both as a ValueError, a KeyError or a
TypeError. What counts is who raised it, about which key, and in which words.
"""

from __future__ import annotations

import re
import traceback

_LIBRARIES = r"/(trl|transformers|peft|accelerate|bitsandbytes|deepspeed)/"
_OURS = "/alignment_trainer/"
_OUR_READING = "/alignment_trainer/data.py"
_ROW_FUNCTIONS = (
    "_prepare_dataset", "apply_chat_template", "maybe_apply_chat_template", "tokenize", "tokenize_fn", "torch_call",
)  # fmt: skip
# What rows are asked for before they are tokenized. Every later key is made by the code itself.
_ROW_KEYS = (
    "prompt", "chosen", "rejected", "completion", "label", "messages", "conversations", "text", "tools",
    "role", "content", "from", "value",
)  # fmt: skip
_ROW_WORDS = r"^.?(Invalid keys in the example|Unexpected input keys in examples|The input examples must contain)"
_MISCALLED = r"unexpected keyword argument|positional argument|keyword-only argument|multiple values for|not callable"
# TRL's and torch's refusals of a dataset, wherever they look at it
_REFUSED = (
    r"num_samples should be a positive integer|dataset appears to be vision-related|dataset is not conversational|"
    r"only supported for conversational|not supported for (language modeling|vision) datasets|Vision datasets must be|"
    r"chat_template is not set"
)


def is_data_fault(link: BaseException) -> bool:
    """Whether rows, or the files that they are read from, are to blame for this exception of a chain."""
    frames = traceback.extract_tb(link.__traceback__)
    package = type(link).__module__.split(".")[0]
    if package == "jinja2":
        return True  # a chat template that cannot render a row
    if raised_by(frames) == "ours":
        return False
    if package in ("datasets", "pyarrow"):
        return True
    if isinstance(link, ValueError) and re.search(_REFUSED, str(link), re.I):
        return True
    return _in_rows(frames) and _about_a_row(link)


def raised_by(frames: traceback.StackSummary) -> str | None:
    """`ours`, `data` (our reading of the dataset) or `library`: the innermost of these that the traceback names."""
    for frame in reversed(frames):
        if frame.filename.endswith(_OUR_READING):
            return "data"
        if _OURS in frame.filename:
            return "ours"
        if re.search(_LIBRARIES, frame.filename):
            return "library"
    return None


def _in_rows(frames: traceback.StackSummary) -> bool:
    return any("/datasets/" in frame.filename or frame.name in _ROW_FUNCTIONS for frame in frames)


def _about_a_row(link: BaseException) -> bool:
    if isinstance(link, KeyError):
        return link.args[:1] in [(key,) for key in _ROW_KEYS] or bool(re.search(_ROW_WORDS, str(link)))
    if isinstance(link, TypeError):
        return not re.search(_MISCALLED, str(link))
    return isinstance(link, ValueError | IndexError)  # an index: a conversation without a message
