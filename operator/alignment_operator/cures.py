"""What a person probably meant by a field or a value that the API server refuses: for `render` and `import`.

The API server's own words name the field and stop there; offline there is room for the cure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from itertools import takewhile
from typing import Any

from alignment_operator.api import trl
from alignment_operator.api.crd import root_schema
from alignment_operator.api.openapi import Schema
from alignment_operator.api.structure import Problem
from alignment_operator.formernames import ELSEWHERE, GONE, RENAMED
from alignment_operator.manifest import scalar

METHODS = ("dpo", "sft", "orpo", "cpo", "kto", "reward")
# Words of other tools for a value that an enumeration has under another name.
VALUES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "half": "float16"}
Path = tuple[str, ...]
_INDEX = re.compile(r"\[[0-9]+\]")


def with_cure(problem: Problem, manifest: dict[str, Any]) -> str:
    """Return the problem in the API server's words, and the cure in brackets where one is near at hand."""
    found = cure(problem, manifest)
    return f"{problem} ({found})" if found else str(problem)


def cure(problem: Problem, manifest: dict[str, Any]) -> str:
    """Return what to write instead; empty where nothing is near.

    Args:
        problem: of `api.validation.problems`.
        manifest: as written.
    """
    path = tuple(problem.path.split("."))
    value = _value(manifest, path)
    if problem.message.startswith("unknown field"):
        return _of_name(path, value, _fields(manifest.get("spec")))
    if problem.message.startswith("Unsupported value"):
        return _of_option(path, value)
    if " should match " in problem.message:
        return _of_pattern(path, str(value))
    return _of_type(value, problem.message.partition("must be of type ")[2].partition(":")[0])


def _of_name(path: Path, value: Any, fields: dict[Path, Schema]) -> str:
    """A name in TRL's spelling, of another section, of an older version, misspelled, or shortened."""
    *above, name = path
    if former := _of_former_name(_snake(name)):
        return former
    depth = len(path) + 1  # deeper down the same word means something else
    same = [field for field in fields if _plain(field[-1]) == _plain(name) and len(field) <= depth]
    there = [field for field in same if not _listed(field[:-1])]
    if there:
        nearest = max(there, key=lambda field: (field[:-1] == tuple(above), _shared(field, path)))
        cure = f"did you mean {'.'.join(nearest)}?"
        return f"{cure} Check the indentation" if nearest[-1] == name and isinstance(value, dict | list) else cure
    return _of_near_name(tuple(above), name, fields)


def _of_former_name(snake: str) -> str:
    if snake in RENAMED:
        return f"now {trl.CAMEL.get(RENAMED[snake], RENAMED[snake])}"
    if snake in trl.OPERATOR_OWNED:
        return f"the operator's: {trl.OPERATOR_OWNED[snake]}"
    return ELSEWHERE.get(snake) or GONE.get(snake, "")


def _of_near_name(above: Path, name: str, fields: dict[Path, Schema]) -> str:
    above = tuple(_INDEX.sub("[]", step) for step in above)
    beside = {_plain(field[-1]): field[-1] for field in fields if field[:-1] == above}
    near = [beside[match] for match in get_close_matches(_plain(name), beside, n=1, cutoff=0.75)]
    parts = [plain for plain in beside if _plain(name) in plain]
    near = near or [beside[plain] for plain in sorted(parts, key=lambda plain: not plain.endswith(_plain(name)))[:2]]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return _of_foreign_option(name, [*fields, *_all_fields()])


def _of_option(path: Path, value: Any) -> str:
    """A value of the same field of another method, another tool's word, or a misspelled one."""
    name = path[-1].partition("[")[0]
    options = _options(_all_fields().get((*path[:-1], name), {}))
    if elsewhere := _of_foreign_option(value, [field for field in _all_fields() if field[-1] == name]):
        return elsewhere
    near = [VALUES[value]] if VALUES.get(value) in options else get_close_matches(str(value), options, n=1)
    return f"did you mean {near[0]}?" if near else ""


def _of_foreign_option(value: Any, fields: list[Path]) -> str:
    found = next((field for field in fields if value in _options(_all_fields()[field])), None)
    return f"{value} is a value of {'.'.join(found)}" if found else ""


def _of_pattern(path: Path, value: str) -> str:
    """Quantities of memory as people say them, and names as the hub has them."""
    if value[-2:] in ("KB", "MB", "GB", "TB"):
        return f"write {value[:-1]} or {value[:-1]}i"
    if path == ("metadata", "name"):
        return "lower-case letters, digits and -, beginning with a letter"
    return ""


def _of_type(value: Any, wanted: str) -> str:
    if not isinstance(value, str):
        return ""
    if wanted == "array":
        return f"write a list: [{', '.join(value.replace(',', ' ').split())}]"
    meant = scalar(value)
    fits = {"number": int | float, "integer": int, "boolean": bool}.get(wanted)
    if fits and isinstance(meant, fits) and isinstance(meant, bool) == (wanted == "boolean"):
        return f"write it without quotes: {value}"
    return ""


def _fields(spec: Any) -> dict[Path, Schema]:
    """Every field below spec; of the methods only those that the spec sets, if it sets one."""
    chosen = [method for method in METHODS if isinstance(spec, dict) and method in spec]
    foreign = {method for method in METHODS if chosen and method not in chosen}
    return {path: schema for path, schema in _all_fields().items() if path[1] not in foreign or len(path) == 2}


@cache
def _all_fields() -> dict[Path, Schema]:
    return dict(_walk(root_schema()["properties"]["spec"], ("spec",)))


def _walk(schema: Schema, path: Path) -> Iterator[tuple[Path, Schema]]:
    for name, part in schema.get("properties", {}).items():
        yield (*path, name), part
        yield from _walk(part, (*path, name))
        yield from _walk(part.get("items", {}), (*path, f"{name}[]"))


def _listed(path: Path) -> bool:
    """Whether it leads into an item of a list."""
    return any(step.endswith("[]") for step in path)


def _options(schema: Schema) -> list[str]:
    return [option for option in schema.get("items", schema).get("enum", []) if isinstance(option, str)]


def _value(value: Any, path: Path) -> Any:
    """What stands there, as far as the path can be followed; None otherwise."""
    for step in path:
        name, _, index = step.rstrip("]").partition("[")
        value = value.get(name) if isinstance(value, dict) else None
        if index:
            value = value[int(index)] if isinstance(value, list) else None
    return value


def _shared(field: Path, path: Path) -> int:
    """How many steps two paths begin with together."""
    return len([*takewhile(lambda pair: pair[0] == pair[1], zip(field, path, strict=False))])


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _snake(name: str) -> str:
    return trl.SNAKE.get(name) or re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
