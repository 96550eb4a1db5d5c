"""Where in the CRD's schema a rule stands: as deep as everything that it reads allows.

At each read of a field the API server copies the schemas of all its siblings (96 of them in `training`), twice where
the field is set, and it evaluates every rule at every write, of status too. A rule that stands at the section or the
field that it is about reads less, or nothing, and costs nothing where that is not set: with all rules under `spec` a
write took 30 ms of CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from alignment_operator.api.rules.rule import REQUIRED, Rule

Schema = dict[str, Any]
_READ = re.compile(r"\bself\b(?:\.(\w+))?")


@dataclass(frozen=True)
class Placed:
    """`rule` as it was written, for the spec; `local`: the same where it stands, `steps` below the spec."""

    rule: Rule
    local: Rule
    steps: tuple[str, ...]

    @property
    def expression(self) -> str:
        return self.local.expression


def place(spec: Schema, rules: Iterable[Rule]) -> list[Placed]:
    """Every rule with the place where it stands. `spec`: the schema of the spec."""
    return [_sink(spec, Placed(rule, rule, ())) for rule in rules]


def below(schema: Schema, steps: Iterable[str]) -> Schema:
    """The part of the schema that these steps lead to."""
    for step in steps:
        schema = schema["properties"][step]
    return schema


def section_of(rule: Rule) -> str | None:
    """The one field of `self` that the rule reads and complains about; None when there are several."""
    read = set(_fields(rule.expression))
    head = rule.path.split(".")[0]
    return head if read == {head} else None


def within(rule: Rule, section: str) -> Rule:
    """The same rule with `self` meaning that section, which is set: a rule of a section says nothing without it."""
    return replace(
        rule,
        holds=_below(section, rule.expression),
        told=_below(section, rule.told),
        path=rule.path.partition(".")[2],
    )


def _below(section: str, expression: str) -> str:
    """The same CEL with `self` meaning the section."""
    expression = re.sub(rf"has\(self\.{section}\)", "true", expression)
    expression = expression.replace("true && ", "").replace(" && true", "").removeprefix("!(true) || ")
    return re.sub(rf"\bself\.{section}\b", "self", expression)


def _sink(schema: Schema, placed: Placed) -> Placed:
    section = section_of(placed.local)
    inner = schema.get("properties", {}).get(section, {})
    if section is None or "type" not in inner or _asks_for(schema, section, placed.local):
        return placed
    return _sink(inner, Placed(placed.rule, within(placed.local, section), (*placed.steps, section)))


def _asks_for(schema: Schema, section: str, rule: Rule) -> bool:
    """Whether the rule may be broken by the very absence of this field: there it would not be evaluated any more."""
    always_set = section in schema.get("required", ()) or "default" in schema["properties"][section]
    return rule.reason == REQUIRED and rule.path == section and not always_set


def _fields(expression: str) -> Iterator[str]:
    """What follows each `self`; empty text for a bare one."""
    return (match[1] or "" for match in _READ.finditer(expression))
