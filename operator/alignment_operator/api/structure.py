"""Checks an object against a structural schema, in the API server's words; no cross-field rules (`validation.py`)."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alignment_operator.api.openapi import INT_OR_STRING, PRESERVE, Schema

Limits = Callable[[Schema, Any, str], Iterator["Problem"]]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an object: the field's path, and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


# JSON type -> the Python types that hold it
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def with_defaults(schema: Schema, value: Any) -> Any:
    """Return a copy of the value with the schema's defaults filled in, and nulls that mean "unset" left out."""
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    result = {}
    for key, item in value.items():
        part = properties.get(key, schema.get("additionalProperties", {}))
        if item is not None or part.get("nullable") or key not in properties:
            result[key] = with_defaults(part, item)
    for key, part in properties.items():
        if key not in result and "default" in part:
            result[key] = with_defaults(part, part["default"])
    return result


def check(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    """Yield what the schema has against the value. Unknown fields are reported as strict field validation does."""
    if schema.get(INT_OR_STRING):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield _wrong_type(path, "integer,string", value)
        elif isinstance(value, str):
            yield from _string(schema, value, path)
        return
    if value is None and schema.get("nullable"):
        return
    kind = schema.get("type")
    if kind and not _is(value, kind):
        yield _wrong_type(path, kind, value)
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(json.dumps(option) for option in schema["enum"])
        yield Problem(path, f"Unsupported value: {json.dumps(value)}: supported values: {supported}")
    if kind and _is(value, kind):
        yield from _LIMITS.get(kind, _no_limits)(schema, value, path)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _name(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    return names[type(value)]


def _wrong_type(path: str, kind: str, value: Any) -> Problem:
    shown = f'"{_name(value)}"'
    return Problem(path, f"Invalid value: {shown}: {path} in body must be of type {kind}: {shown}")


def _no_limits(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    return iter(())


def _number(schema: Schema, value: int | float, path: str) -> Iterator[Problem]:
    tests = [
        ("minimum", "exclusiveMinimum", "greater", lambda limit: value < limit),
        ("maximum", "exclusiveMaximum", "less", lambda limit: value > limit),
    ]
    for key, flag, word, outside in tests:
        limit = schema.get(key)
        if limit is None:
            continue
        exclusive = schema.get(flag, False)
        if outside(limit) or (exclusive and value == limit):
            orequal = "" if exclusive else " or equal to"
            than = f"{word} than{orequal}"
            yield Problem(path, f"Invalid value: {_go(value)}: {path} in body should be {than} {_go(limit)}")


def _go(number: int | float) -> str:
    """Write a number as Go's %v does."""
    return f"{number:g}" if isinstance(number, float) else str(number)


def _string(schema: Schema, value: str, path: str) -> Iterator[Problem]:
    if len(value) < schema.get("minLength", 0):
        at_least = schema["minLength"]
        yield Problem(
            path, f"Invalid value: {json.dumps(value)}: {path} in body should be at least {at_least} chars long"
        )
    if len(value) > schema.get("maxLength", len(value)):
        yield Problem(path, f"Too long: may not be more than {schema['maxLength']} bytes")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Problem(path, f"Invalid value: {json.dumps(value)}: {path} in body should match '{schema['pattern']}'")


def _array(schema: Schema, value: list, path: str) -> Iterator[Problem]:
    if len(value) < schema.get("minItems", 0):
        yield Problem(
            path, f"Invalid value: {len(value)}: {path} in body should have at least {schema['minItems']} items"
        )
    if len(value) > schema.get("maxItems", len(value)):
        yield Problem(path, f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
    for index, item in enumerate(value):
        yield from check(schema.get("items", {}), item, f"{path}[{index}]")


def _object(schema: Schema, value: dict, path: str) -> Iterator[Problem]:
    for key in schema.get("required", []):
        if key not in value:
            yield Problem(f"{path}.{key}", "Required value")
    if len(value) > schema.get("maxProperties", len(value)):
        yield Problem(path, f"Too many: {len(value)}: must have at most {schema['maxProperties']} items")
    for key, item in value.items():
        if key in schema.get("properties", {}):
            yield from check(schema["properties"][key], item, f"{path}.{key}" if path else key)
        elif "additionalProperties" in schema:
            yield from check(schema["additionalProperties"], item, f"{path}.{key}")
        elif not schema.get(PRESERVE) and "properties" in schema:
            full = f"{path}.{key}" if path else key
            yield Problem(full, f'unknown field "{full}"')


_LIMITS: dict[str, Limits] = {
    "number": _number,
    "integer": _number,
    "string": _string,
    "array": _array,
    "object": _object,
}
