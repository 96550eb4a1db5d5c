"""Hypothesis strategies from a structural schema: values that fit it, its bounds among them, and JSON of any kind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from alignment_operator.api.openapi import INT_OR_STRING, PRESERVE, Schema

Values = st.SearchStrategy[Any]

# What specs hold in life, and what trips those who read them.
WORDS = (
    "main",
    "org/name",
    "/cache/model",
    "../..",
    "nvidia.com/gpu",
    "trainer",
    "alignment-x",
    "true",
    "5e-7",
    "0o17",
    "no",
    "null",
    "2024-01-01",
    "---",
    "{{ x }}",
    "$(HOME)",
    "'\"",
    "a: b",
    "\t",
    "line\nline",
    "ü",
    "\u2028",
    "𝔘",
    "",
)
INTEGERS = (-(2**63), -1, 0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1)
TEXT = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
_SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(INTEGERS), st.floats(allow_nan=False, width=32), TEXT)
ANY_JSON: Values = st.recursive(
    _SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def fitting(schema: Schema) -> Values:
    """Values that the schema lets through."""
    if schema.get(INT_OR_STRING):
        return st.one_of(st.integers(-1, 2**31), st.sampled_from(("1", "500m", "8Gi", "x", "50%")))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get(PRESERVE) and not schema.get("properties"):
        return st.dictionaries(TEXT, ANY_JSON, max_size=3)
    return _BY_TYPE[schema["type"]](schema)


def _object(schema: Schema) -> Values:
    if "additionalProperties" in schema:
        most = min(schema.get("maxProperties", 3), 3)
        return st.dictionaries(TEXT.filter(bool), fitting(schema["additionalProperties"]), max_size=most)
    return _properties(schema)


@st.composite
def _properties(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    """What is required, and up to three more."""
    names = sorted(schema.get("properties", {}))
    chosen = draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else []
    chosen = list(dict.fromkeys([*schema.get("required", []), *chosen]))
    return {name: draw(fitting(schema["properties"][name])) for name in chosen}


def _array(schema: Schema) -> Values:
    least = schema.get("minItems", 0)
    return st.lists(fitting(schema.get("items", {})), min_size=least, max_size=max(least, min(3, schema["maxItems"])))


def _string(schema: Schema) -> Values:
    if "pattern" in schema:
        matching: Values = st.from_regex(schema["pattern"], fullmatch=True)
        return matching.filter(lambda text: "\n" not in text)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 64)
    longest = st.just("x" * most) if most <= 1024 else st.nothing()
    return st.one_of(TEXT.filter(lambda text: least <= len(text) <= most), longest)


def _integer(schema: Schema) -> Values:
    low, high = schema.get("minimum", -(2**31)), schema.get("maximum", 2**31)
    near = [value for value in (low, low + 1, 0, 1, 2, high) if low <= value <= high]
    return st.one_of(st.sampled_from(near), st.integers(int(low), int(high)))


def _number(schema: Schema) -> Values:
    low, high = float(schema.get("minimum", -1e6)), float(schema.get("maximum", 1e6))
    floats = st.floats(
        low,
        high,
        exclude_min=bool(schema.get("exclusiveMinimum")),
        exclude_max=bool(schema.get("exclusiveMaximum")),
        allow_nan=False,
        allow_infinity=False,
    )
    return st.one_of(floats, floats.map(round).filter(lambda n: low < n < high))


_BY_TYPE = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda schema: st.booleans(),
}
