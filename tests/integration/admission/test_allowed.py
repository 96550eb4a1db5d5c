"""The allow-lists at admission: the chart's policy refuses what the operator would, in the same words."""

from __future__ import annotations

import pytest

from alignment_operator.api.rules.allowed import ALLOWED_RULES
from tests.allowed_cases import ALLOWED_CASES, IMAGE, LISTS, AllowedCase
from tests.integration.admission.conftest import Install
from tests.integration.api.server import Client, manifest
from tests.rule_cases import spec

RULES = {rule.id: rule for rule in ALLOWED_RULES}


@pytest.fixture(scope="module")
def clients(install: Install) -> dict[str, Client]:
    """A namespace for each set of lists."""
    return {name: install(f"lists-{name}", {"allowed": lists}) for name, lists in LISTS.items()}


@pytest.mark.parametrize("case", ALLOWED_CASES, ids=lambda case: case.name)
def test_admission_gives_the_operators_verdict(case: AllowedCase, clients: dict[str, Client]) -> None:
    """The operator's is tests/unit/operator/test_allowlists.py."""
    answer = clients[case.lists].create(manifest(spec(case.patch)))
    if case.rule is None:
        assert answer.code == 201, answer.message
        return
    assert answer.code == 403, answer.message
    assert answer.message.endswith(f"denied request: {RULES[case.rule].told}")


def test_other_namespaces_are_not_bound(clients: dict[str, Client]) -> None:
    free = Client(clients["ours"].server)
    assert free.create(manifest(spec({"image": "busybox"}))).code == 201


def test_an_object_that_predates_a_list_may_be_stopped_and_not_run_again(install: Install) -> None:
    older = manifest(spec({"image": "busybox"}))
    client = install("lists-later", {"allowed": LISTS["images"]}, older)
    assert client.patch("case", {"spec": {"suspend": True, "activeDeadlineSeconds": 60}}).code == 200
    assert client.patch("case", {"metadata": {"labels": {"team": "a"}}}).code == 200
    assert client.put_status("case", {"phase": "Suspended"}).code == 200
    again = client.patch("case", {"spec": {"rerun": "again"}})
    assert (again.code, again.message.rpartition("denied request: ")[2]) == (403, RULES["image"].told)
    assert client.patch("case", {"spec": {"rerun": "again", "image": IMAGE}}).code == 200
