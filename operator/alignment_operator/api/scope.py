"""Where in the CRD's schema a rule stands: as deep as everything that it reads allows.

At each read of a field that is set, the API server copies the schemas of all its siblings (96 of them in `training`),
and it evaluates every rule at every write, of status too. A rule that stands at the section that it is about reads
less, and costs nothing where the section is not set: with all rules under `spec` a write took 30 ms of CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from alignment_operator.api.rules.rule import Rule

Schema = dict[str, Any]
_READ = re.compile(r"\bself\b(?:\.(\w+))?")


def place(spec: Schema, rules: Iterable[Rule], entry: Any) -> None:
    """Put every rule into the schema of `spec`. `entry`: a Rule -> its x-kubernetes-validations."""
    for rule in rules:
        schema, placed = spec, rule
        while (section := section_of(placed)) and "properties" in schema["properties"].get(section, {}):
            schema, placed = schema["properties"][section], within(placed, section)
        schema.setdefault("x-kubernetes-validations", []).append(entry(placed))


def section_of(rule: Rule) -> str | None:
    """The one field of `self` that the rule reads and complains about; None when there are several."""
    read = set(_fields(rule.expression))
    head = rule.path.split(".")[0]
    return head if read == {head} else None


def within(rule: Rule, section: str) -> Rule:
    """The same rule with `self` meaning that section, which is set: a rule of a section says nothing without it."""
    expression = re.sub(rf"has\(self\.{section}\)", "true", rule.expression).replace("true && ", "")
    expression = re.sub(rf"\bself\.{section}\b", "self", expression)
    return replace(rule, expression=expression, path=rule.path.partition(".")[2])


def _fields(expression: str) -> Iterator[str]:
    """What follows each `self`; empty text for a bare one."""
    return (match[1] or "" for match in _READ.finditer(expression))
