"""The first proof of every rule: a real API server refuses the spec that breaks it, and takes the one that keeps it."""

import pytest

from alignment_operator.api.rules import RULES
from tests.integration.api.server import Client, manifest
from tests.rule_cases import CASES, Case, spec

BY_ID = {rule.id: rule for rule in RULES}


def case_id(case: Case) -> str:
    return case.rule


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_spec_that_breaks_the_rule_is_refused_with_its_path_and_message(case: Case, client: Client) -> None:
    rule = BY_ID[case.rule]
    answer = client.create(manifest(spec(case.bad)))
    assert answer.code == 422, answer.message
    found = [(cause["field"], cause["reason"]) for cause in answer.causes]
    assert found == [(f"spec.{rule.path}", rule.reason)]
    assert rule.message in answer.causes[0]["message"]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_spec_that_keeps_the_rule_is_accepted(case: Case, client: Client) -> None:
    answer = client.create(manifest(spec(case.good)))
    assert answer.code == 201, answer.message
