"""What the API server would say about an AlignmentJob, without one: schema, then the same CEL text.

`render` uses it, and so does the operator for objects that predate a rule.
"""

import json
from functools import cache
from typing import Any

from alignment_operator.api import constants, expressions
from alignment_operator.api.crd import root_schema
from alignment_operator.api.expressions import broken
from alignment_operator.api.openapi import Schema
from alignment_operator.api.rules import RULES, Rule
from alignment_operator.api.rules.rule import INVALID
from alignment_operator.api.scope import Placed, place
from alignment_operator.api.structure import Problem, check, with_defaults

__all__ = ["Problem", "defaulted", "prepare", "problems"]

_KINDS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
}


@cache
def _schema() -> Schema:
    return root_schema()


def defaulted(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object as the API server would store it: defaults filled in, meaningless nulls dropped."""
    result = dict(obj)
    if isinstance(obj.get("spec"), dict):
        result["spec"] = with_defaults(_schema()["properties"]["spec"], obj["spec"])
    return result


def problems(obj: dict[str, Any], strict: bool = True) -> list[Problem]:
    """Return what is wrong with a manifest, in the API server's words; empty if it would be accepted.

    `strict`: unknown fields are wrong too, as for kubectl. Rules are evaluated only on an object that fits the schema.
    """
    full = defaulted(obj)
    return _identity(obj) or _structure(full, strict) or _broken_rules(full["spec"])


def prepare() -> None:
    """Compile every rule. That takes a second."""
    expressions.prepare(placed for rules in _rules().values() for placed in rules)


def _identity(obj: dict[str, Any]) -> list[Problem]:
    expected = {"apiVersion": constants.API_VERSION, "kind": constants.KIND}
    return [
        Problem(key, f"Invalid value: {obj.get(key)!r}: expected {value}")
        for key, value in expected.items()
        if obj.get(key) != value
    ]


def _structure(obj: dict[str, Any], strict: bool) -> list[Problem]:
    schema = _schema()["properties"]
    name = obj.get("metadata", {}).get("name")
    found = [Problem("metadata.name", "Required value: name is required")]
    if name is not None:
        found = list(check(schema["metadata"]["properties"]["name"], name, "metadata.name"))
    found += list(check(schema["spec"], obj["spec"], "spec")) if "spec" in obj else [Problem("spec", "Required value")]
    found += [Problem(key, f'unknown field "{key}"') for key in obj if key not in schema]
    found += list(_nulls(schema["spec"], obj.get("spec"), "spec"))
    return [problem for problem in found if strict or not problem.message.startswith("unknown field")]


def _nulls(schema: Schema, value: Any, path: str) -> list[Problem]:
    """The nulls that CEL cannot see (it takes them for unset), and that mean something else to TRL."""
    if not isinstance(value, dict):
        return []
    found = []
    for key, item in value.items():
        part = schema.get("properties", {}).get(key, {})
        if item is None and part.get("nullable"):
            found.append(Problem(f"{path}.{key}", "Invalid value: null: write -1 for no truncation, or remove it"))
        found += _nulls(part, item, f"{path}.{key}")
    return found


@cache
def _rules() -> dict[tuple[str, ...], list[Placed]]:
    """The rules by where they stand."""
    groups: dict[tuple[str, ...], list[Placed]] = {}
    for placed in place(_schema()["properties"]["spec"], RULES):
        groups.setdefault(placed.steps, []).append(placed)
    return groups


def _broken_rules(spec: dict[str, Any]) -> list[Problem]:
    """As the API server does: the rules of what is set. Each part is converted to CEL's values once."""
    typed = _typed(_schema()["properties"]["spec"], spec)
    found: dict[Rule, Any] = {}
    for steps, rules in _rules().items():
        value = _at(typed, steps)
        if value is not None:
            found |= {placed.rule: value for placed in broken(rules, self=value)}
    return [_problem(rule, found[rule]) for rule in RULES if rule in found]


def _at(value: Any, steps: tuple[str, ...]) -> Any:
    """What these steps lead to; None where a field on the way is not set."""
    for step in steps:
        value = value.get(step) if value is not None else None
    return value


def _problem(rule: Rule, value: Any) -> Problem:
    """`value`: where the rule stands. The API server shows it, unless it is an object or a list."""
    shown = f"{json.dumps(value)}: " if rule.reason == INVALID and not isinstance(value, dict | list) else ""
    return Problem(f"spec.{rule.path}", f"{_KINDS[rule.reason]}: {shown}{rule.message}")


def _typed(schema: Schema, value: Any) -> Any:
    """Return the value with CEL's types: a `number` is a double even if it is whole. Nulls are unset."""
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        rest = schema.get("additionalProperties", {})
        return {key: _typed(parts.get(key, rest), item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), item) for item in value]
    if schema.get("type") == "number":
        return float(value)
    return int(value) if schema.get("type") == "integer" else value
