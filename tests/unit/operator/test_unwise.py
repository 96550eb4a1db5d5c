"""status.warnings: what is legal and yet unwise, each with the field to change; a sound spec has none.

That admission says the same is tests/integration/admission/test_warnings.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.rules.unwise import WARNINGS
from alignment_operator.api.validation import problems
from alignment_operator.overlay import digest
from alignment_operator.settings import Settings, load
from alignment_operator.unwise import of_spec, warnings
from alignment_operator.views import Observed
from tests.integration.api.server import manifest
from tests.unit.operator.builders import Job, alignment_job
from tests.unwise_cases import GENEROUS_PODS, SOUND, UNWISE, WISE, spec


def found(patch: dict[str, Any], settings: Settings | None = None) -> list[str]:
    return of_spec(AlignmentJob.model_validate(manifest(spec(patch))).spec, settings or Settings())


@pytest.mark.parametrize("name", UNWISE)
def test_what_is_unwise_is_told_with_its_field(name: str) -> None:
    patch, words = UNWISE[name]
    (warning,) = found(patch)
    assert words in warning
    assert warning.endswith(".")


@pytest.mark.parametrize("patch", WISE, ids=str)
def test_what_is_sound_or_mended_is_not_warned_about(patch: dict[str, Any]) -> None:
    assert found(patch) == []


@pytest.mark.parametrize("name", UNWISE)
def test_only_what_the_rules_let_through_is_warned_about(name: str) -> None:
    """What nobody wants is a rule: a warning for it would never be seen."""
    assert problems(manifest(spec(UNWISE[name][0]))) == []


def test_every_warning_is_shown() -> None:
    told = {sentence for patch, _ in UNWISE.values() for sentence in found(patch)}
    assert told == {warning.message for warning in WARNINGS}


@pytest.mark.parametrize("name", ["downloads-again", "precomputes-again", "queue-counts-nothing"])
def test_what_the_operators_settings_give_is_not_missed(name: str) -> None:
    assert found(UNWISE[name][0], load(overrides={"pods": GENEROUS_PODS})) == []


def test_a_changed_pod_template_is_said_to_act_from_the_next_run() -> None:
    template = {"spec": {"nodeSelector": {"pool": "a"}}}
    job = alignment_job(**SOUND, podTemplate=template)
    child = replace(Job().view(), template_digest=digest(job.spec.pod_template))
    assert warnings(job, Observed(child), Settings()) == []
    changed = alignment_job(**SOUND, podTemplate={"spec": {"nodeSelector": {"pool": "b"}}})
    (warning,) = warnings(changed, Observed(child), Settings())
    assert "spec.rerun" in warning
