"""values.yaml -> values.schema.json: with it Helm refuses a misspelt key or a wrong type before it renders anything."""

from typing import Any

from .comments import Value

Schema = dict[str, Any]

# What Helm itself puts among the values of a chart that another chart depends on.
AS_DEPENDENCY: Schema = {
    "global": {"type": "object", "description": "Values shared with a parent chart; not used."},
    "enabled": {"type": "boolean", "description": "A parent chart's condition; not used."},
}


def document(values: tuple[Value, ...]) -> Schema:
    """The whole schema."""
    return {"$schema": "http://json-schema.org/draft-07/schema#"} | _object(values, AS_DEPENDENCY)


def _object(values: tuple[Value, ...], more: Schema | None = None) -> Schema:
    properties = {value.name: _of(value) for value in values} | (more or {})
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _of(value: Value) -> Schema:
    if value.children:
        return _object(value.children)
    known = {"type": _type(value.default)} if value.default is not None else {}
    return {"description": value.description} | known | value.keywords | {"default": value.default}


def _type(default: Any) -> str:
    names: dict[type, str] = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
    }
    return names[type(default)]
