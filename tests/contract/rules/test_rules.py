"""The second proof of every rule: what the pinned TRL does with the settings that the rule refuses."""

import json
from pathlib import Path

import pytest

from tests.contract.rules import harness, shown
from tests.contract.rules.harness import World
from tests.rule_cases import CASES, Case, spec

RAISING = [case for case in CASES if case.raises]
SHOWN = [case for case in CASES if case.shows]


def _runs_here(settings: dict) -> bool:
    """A spec that asks for one CPU process; others need hardware or a launcher."""
    return settings["gpusPerNode"] == 0 and settings.get("nodes", 1) == 1 and "fromJob" not in settings["model"]


def _good_settings() -> list[dict]:
    """The distinct good specs of the raising cases: each is trained once."""
    distinct = {json.dumps(spec(case.good), sort_keys=True): spec(case.good) for case in RAISING}
    return [settings for settings in distinct.values() if _runs_here(settings)]


@pytest.mark.parametrize("case", RAISING, ids=lambda case: case.rule)
def test_trl_raises_on_what_the_rule_refuses(case: Case, world: World, tmp_path: Path) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  each case brings its own text
        harness.run(spec(case.bad), world, tmp_path)
    assert case.raises in f"{type(raised.value).__name__}: {raised.value}"


@pytest.mark.parametrize("settings", _good_settings(), ids=lambda settings: harness.method_of(settings))
def test_trl_trains_what_the_rules_let_through(settings: dict, world: World, tmp_path: Path) -> None:
    trainer = harness.run(settings, world, tmp_path)
    assert trainer.state.global_step == trainer.state.max_steps > 0


@pytest.mark.parametrize("case", SHOWN, ids=lambda case: f"{case.rule}-{case.shows}")
def test_without_the_rule_a_run_dies_or_lies(case: Case, world: World, tmp_path: Path) -> None:
    shown.function(case.shows)(case, world, tmp_path)
