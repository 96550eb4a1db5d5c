"""An AlignmentJob is parsed when it changed, and its spec only when that did."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from alignment_operator.store import Key
from alignment_operator.subject import Models, read
from tests.unit.operator.builders import alignment_job

KEY = Key("team-a", "demo")


@pytest.fixture
def stored() -> dict[str, Any]:
    obj = alignment_job().to_object()
    obj["metadata"]["resourceVersion"] = "1"
    return obj


def written(stored: dict[str, Any], version: str, generation: int = 1, uid: str = "", **status: Any) -> dict[str, Any]:
    """The object after a write."""
    obj = copy.deepcopy(stored)
    obj["metadata"] |= {"resourceVersion": version, "generation": generation} | ({"uid": uid} if uid else {})
    return obj | {"status": status}


def test_an_object_that_did_not_change_is_not_read_again(stored):
    models = Models()
    assert models.of(KEY, stored) is models.of(KEY, copy.deepcopy(stored))


def test_after_a_write_of_status_the_spec_is_the_one_that_is_known(stored):
    models = Models()
    before, _ = models.of(KEY, stored)
    after = written(stored, "2", phase="Running", run=1)
    job, problem = models.of(KEY, after)
    assert job.spec is before.spec
    assert (job, problem) == read(after)
    assert job.status.phase == "Running"


@pytest.mark.parametrize("other", [{"generation": 2}, {"uid": "another"}], ids=["changed", "made-again"])
def test_another_spec_is_read(stored, other):
    models = Models()
    models.of(KEY, stored)
    after = written(stored, "2", **other)
    after["spec"]["dpo"] = {"beta": 0.5}
    job, _ = models.of(KEY, after)
    assert job.spec.dpo is not None
    assert job.spec.dpo.beta == 0.5


def test_what_stood_in_for_a_spec_that_cannot_be_read_is_not_taken_for_it(stored):
    models = Models()
    stored["spec"]["nodes"] = 0
    _, problem = models.of(KEY, stored)
    assert problem is not None
    assert str(models.of(KEY, written(stored, "2", phase="Refused"))[1]) == str(problem)
