"""Rules pushed down to the sections that they are about say the same there."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.api import scope
from alignment_operator.api.crd import root_schema
from alignment_operator.api.expressions import broken
from alignment_operator.api.rules import RULES, Rule

SMALL: dict[str, Any] = {
    "model": {"modelNameOrPath": "m"},
    "dataset": {"datasetName": "d"},
    "output": {"volume": {"persistentVolumeClaim": {"claimName": "c"}}},
    "nodes": 1,
    "gpusPerNode": 1,
    "suspend": False,
    "backoffLimit": 3,
    "dpo": {},
}


def rule(expression: str, path: str) -> Rule:
    return Rule("id", expression, "message", path, "why")


@pytest.mark.parametrize(
    ("expression", "path", "section"),
    [
        ("!has(self.dpo) || self.dpo.beta > 0.0", "dpo.beta", "dpo"),
        ("has(self.dpo) != has(self.sft)", "dpo", None),
        ("!has(self.dpo) || self.dpo.beta > 0.0", "training.bf16", None),
        ("self == self", "dpo", None),
    ],
    ids=["one", "two", "told-elsewhere", "all-of-it"],
)
def test_a_rule_belongs_to_the_one_section_that_it_reads_and_complains_about(expression, path, section):
    assert scope.section_of(rule(expression, path)) == section


def test_within_its_section_self_is_the_section_which_is_there():
    moved = scope.within(rule("!(has(self.dpo) && has(self.dpo.beta)) || self.dpo.beta > 0.0", "dpo.beta"), "dpo")
    assert (moved.expression, moved.path) == ("!(has(self.beta)) || self.beta > 0.0", "beta")


def test_no_rule_is_lost():
    def count(schema: dict[str, Any]) -> int:
        below = sum(count(part) for part in schema.get("properties", {}).values())
        return len(schema.get("x-kubernetes-validations", ())) + below

    assert count(root_schema()["properties"]["spec"]) == len(RULES)


MOVED = [rule for rule in RULES if scope.section_of(rule)]


@pytest.mark.parametrize("moved", MOVED, ids=[rule.id for rule in MOVED])
def test_a_rule_that_was_moved_holds_where_its_section_is_not_set(moved: Rule):
    """There the API server does not evaluate it any more."""
    section = scope.section_of(moved)
    if section in ("model", "dataset", "output"):  # required: always there
        return
    assert broken([moved], self={name: part for name, part in SMALL.items() if name != section}) == []
