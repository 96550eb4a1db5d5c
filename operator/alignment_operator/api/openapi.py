"""pydantic's JSON Schema -> the structural OpenAPI v3 schema that a CustomResourceDefinition takes."""

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model: references inlined, nullable unions flattened, keys by alias.

    Raises ValueError for a type that has no structural schema (a union of, say, a string and a list).
    """
    document = model.model_json_schema(by_alias=True)
    return _convert(document, document.get("$defs", {}))


def _convert(schema: Schema, definitions: Schema) -> Schema:
    schema = _flatten(schema, definitions)
    if schema.get("default") is None:
        schema.pop("default", None)
    if schema.get(INT_OR_STRING):
        return {key: value for key, value in schema.items() if key in _KEPT_OF_INT_OR_STRING}
    result = {key: value for key, value in schema.items() if key in _KEPT}
    result |= _exclusive(schema)
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if "properties" in schema:
        result["properties"] = {key: _convert(value, definitions) for key, value in schema["properties"].items()}
    if "items" in schema:
        result["items"] = _convert(schema["items"], definitions)
    return result | _additional(schema, definitions)


_KEPT_OF_INT_OR_STRING = {INT_OR_STRING, "description", "default", "pattern"}
_KEPT = {
    "type",
    "description",
    "default",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "nullable",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
}


_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _flatten(schema: Schema, definitions: Schema) -> Schema:
    """Resolve `$ref` and the unions that mean "or unset", "integer or number", "integer or string"."""
    # pydantic leaves the bounds of a union (an integer or a float) under its own names
    schema = {_BOUNDS.get(key, key): value for key, value in schema.items()}
    while "$ref" in schema:
        target = definitions[schema.pop("$ref").rsplit("/", 1)[1]]
        schema = {**target, **schema}
    options = [_flatten(option, definitions) for option in schema.pop("anyOf", []) if option != {"type": "null"}]
    if not options or schema.get(INT_OR_STRING):
        return schema
    if {option.get("type") for option in options} == {"integer", "number"}:
        return {**options[0], **options[1], **schema, "type": "number"}
    if len(options) == 1:
        return {**options[0], **schema}
    raise ValueError(f"no structural schema for the union {options}")


def _exclusive(schema: Schema) -> Schema:
    """JSON Schema's numeric exclusive bounds are flags in OpenAPI v3.0."""
    result: Schema = {}
    for bound in ("minimum", "maximum"):
        flag = f"exclusive{bound.capitalize()}"
        if flag in schema:
            result |= {bound: schema[flag], flag: True}
    return result


def _additional(schema: Schema, definitions: Schema) -> Schema:
    """Typed values of a map; untyped ones become content that the API server keeps but does not look into."""
    additional = schema.get("additionalProperties", False)
    if additional is True:
        return {PRESERVE: True}
    if additional and "properties" not in schema:
        return {"additionalProperties": _convert(additional, definitions)}
    return {}
