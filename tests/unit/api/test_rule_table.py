"""Every rule has a case with both proofs; the table and the rules speak of the same things."""

import pytest

from alignment_operator.api.rules import CHANGE_RULES, RULES, Rule
from alignment_operator.api.validation import problems
from tests.integration.api.server import manifest
from tests.rule_cases import CASES, Case, spec

BY_ID = {rule.id: rule for rule in RULES}


def test_rule_names_are_unique() -> None:
    names = [rule.id for rule in [*RULES, *CHANGE_RULES]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_case_with_both_proofs(rule: Rule) -> None:
    cases = [case for case in CASES if case.rule == rule.id]
    assert cases
    assert all(bool(case.raises) + bool(case.shows) + bool(case.kubernetes) == 1 for case in cases)


def test_every_case_belongs_to_a_rule() -> None:
    assert {case.rule for case in CASES} == set(BY_ID)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_offline_and_online_engines_agree_on_the_table(case: Case) -> None:
    """The online half (the same two verdicts from a real API server) is tests/integration/api/test_rules.py."""
    rule = BY_ID[case.rule]
    [problem] = problems(manifest(spec(case.bad)))
    assert problem.path == f"spec.{rule.path}"
    assert rule.message in problem.message
    assert problems(manifest(spec(case.good))) == []


@pytest.mark.parametrize("rule", [*RULES, *CHANGE_RULES], ids=lambda rule: rule.id)
def test_a_rule_names_the_field_the_cure_and_the_reason(rule: Rule) -> None:
    assert rule.path
    assert rule.why
    assert len(rule.message) < 400
    assert "\n" not in rule.message
