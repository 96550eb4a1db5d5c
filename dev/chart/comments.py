"""Reads a chart's values.yaml with its comments: the one place where a value, its meaning and its bounds are written.

Syntax (helm-docs' `# --`, plus two words): `# -- TEXT` above a key describes it, `# @schema {...}` adds JSON Schema
keywords to what the default implies, `# @section TITLE` starts a section.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml


class CommentError(ValueError):
    """values.yaml breaks the syntax above; the message names the line."""


@dataclass(frozen=True)
class Value:
    """One key of values.yaml. `children` is empty for a leaf: a scalar, a list, or a map that the user fills."""

    path: str
    default: Any
    section: str
    description: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)
    children: tuple["Value", ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


def read(text: str) -> tuple[Value, ...]:
    """Every top-level value of values.yaml, in order.

    Raises CommentError for a leaf without a description, or a null or empty list whose type nobody can guess.
    """
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return tuple(_values(root, text.splitlines(), ""))


def _values(node: yaml.MappingNode, lines: list[str], prefix: str) -> list[Value]:
    return [_value(key, child, lines, prefix) for key, child in node.value]


def _value(key: yaml.ScalarNode, child: yaml.Node, lines: list[str], prefix: str) -> Value:
    line = key.start_mark.line
    description, keywords = _comment(lines, line)
    path = f"{prefix}{key.value}"
    children: tuple[Value, ...] = ()
    if isinstance(child, yaml.MappingNode) and child.value and not description:
        children = tuple(_values(child, lines, f"{path}."))
    elif not description:
        raise CommentError(f"values.yaml line {line + 1}: {path} has no comment `# -- ...`")
    default = yaml.safe_load(yaml.serialize(child))
    if default is None and "type" not in keywords:
        raise CommentError(f"values.yaml line {line + 1}: {path} is null: say its type in `# @schema`")
    if default == [] and "items" not in keywords:
        raise CommentError(f"values.yaml line {line + 1}: {path} is an empty list: say its items in `# @schema`")
    return Value(path, default, _section(lines, line), description, keywords, children)


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    """Description and schema keywords in the comment lines right above `line`."""
    description: list[str] = []
    keywords: dict[str, Any] = {}
    start = line
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    for text in (text.strip().lstrip("#").strip() for text in lines[start:line]):
        if text.startswith("@schema"):
            keywords |= yaml.safe_load(text.removeprefix("@schema"))
        elif text.startswith("--"):
            description = [text.removeprefix("--").strip()]
        elif description:
            description.append(text)
    return " ".join(description), keywords


def _section(lines: list[str], line: int) -> str:
    mark = "# @section "
    return next((text.removeprefix(mark) for text in reversed(lines[:line]) if text.startswith(mark)), "")
