"""Rules pushed down to the sections and fields that they are about say the same there."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from alignment_operator.api import scope
from alignment_operator.api.crd import root_schema
from alignment_operator.api.expressions import broken
from alignment_operator.api.openapi import structural
from alignment_operator.api.rules import RULES, Rule
from alignment_operator.api.rules.joined import joined
from alignment_operator.api.spec import Spec

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
    """Each is asked, alone or joined with others, and its words are in the CRD."""

    def count(schema: dict[str, Any]) -> int:
        below = sum(count(part) for part in schema.get("properties", {}).values())
        return len(schema.get("x-kubernetes-validations", ())) + below

    spec = root_schema()["properties"]["spec"]
    assert count(spec) == len(joined(RULES)) < len(RULES)
    words = json.dumps(spec, ensure_ascii=False).replace("\\", "")
    assert [rule.id for rule in RULES if rule.message.replace("\\", "") not in words] == []


def steps(rule: Rule) -> list[str]:
    """The fields that lead from `spec` to where the rule stands."""
    [placed] = scope.place(structural(Spec), [rule])
    return list(placed.steps)


MOVED = [rule for rule in RULES if steps(rule)]


@pytest.mark.parametrize("moved", MOVED, ids=[rule.id for rule in MOVED])
def test_a_rule_that_was_moved_holds_where_its_field_or_a_section_above_it_is_not_set(moved: Rule):
    """There the API server does not evaluate it any more."""
    schema, spec = structural(Spec), copy.deepcopy(SMALL)
    node = spec
    for step in steps(moved):
        if step not in schema.get("required", ()) and "default" not in schema["properties"][step]:
            node.pop(step, None)
            assert broken([moved], self=spec) == [], step
        node, schema = node.setdefault(step, {}), schema["properties"][step]


RULE = {rule.id: rule for rule in RULES}


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("max-steps", "training.maxSteps"),
        ("pod-hostname", "podTemplate.spec.hostname"),
        ("fractions-all-or-none", "dataset.datasets"),
        ("fp16-and-bf16", "training"),
        ("reference-model-name", "referenceModel.model"),
        ("tf32-gpu", ""),
    ],
    ids=["field", "forbidden-field", "list", "two-fields", "field-that-must-be-there", "two-sections"],
)
def test_a_rule_stands_as_deep_as_what_it_reads_allows(name: str, where: str):
    assert ".".join(steps(RULE[name])) == where
