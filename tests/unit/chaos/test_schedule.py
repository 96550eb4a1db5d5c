"""The seed decides everything."""

from __future__ import annotations

import inspect
from itertools import pairwise

import pytest

from tests.chaos.faults import Faults
from tests.chaos.run import BRIEF, FULL, Scale
from tests.chaos.schedule import ALONE, KINDS, LONG, SHORT, Fault, schedule
from tests.chaos.scripts import SCRIPTS, controls, merged, population

SEEDS = range(60)


@pytest.mark.parametrize(("scale"), [BRIEF, FULL], ids=["brief", "full"])
def test_every_kind_of_fault_comes_within_the_time(scale: Scale) -> None:
    for seed in SEEDS:
        faults = schedule(seed, scale.seconds, scale.pace)
        assert {fault.kind for fault in faults} == set(KINDS), seed
        assert max(fault.end for fault in faults) <= scale.seconds


def test_the_same_seed_gives_the_same_faults_and_users_and_another_does_not() -> None:
    assert schedule(7, 900) == schedule(7, 900) != schedule(8, 900)
    assert population(7, 200, 700) == population(7, 200, 700) != population(8, 200, 700)


def test_faults_of_one_kind_do_not_overlap_and_outages_overlap_nothing() -> None:
    for seed in SEEDS:
        faults = schedule(seed, 900, LONG)
        for kind in KINDS:
            same = [fault for fault in faults if fault.kind == kind]
            assert all(first.end <= second.at for first, second in pairwise(same))
        for alone in (fault for fault in faults if fault.kind in ALONE):
            others = (fault for fault in faults if fault is not alone)
            assert not any(fault.at < alone.end and alone.at < fault.end for fault in others)


def test_the_long_form_stops_the_api_server_for_a_minute() -> None:
    assert all(f.seconds == 60 for seed in SEEDS for f in schedule(seed, 900, LONG) if f.kind == "stop_api_server")


@pytest.mark.parametrize("pace", [LONG, SHORT], ids=["long", "short"])
def test_every_fault_can_be_carried_out(pace: object) -> None:
    for fault in schedule(1, 900, pace):  # type: ignore[arg-type]
        given = set(fault.arguments) | ({"seconds"} if fault.seconds else set())
        wanted = set(inspect.signature(getattr(Faults, fault.kind)).parameters) - {"self"}
        assert given == wanted, fault.kind


def test_a_fault_reads_as_a_line() -> None:
    text = str(Fault(12.5, "answer_429", 20, {"share": 0.3}))
    assert text == "  12.5 s  answer_429 for 20 s share=0.3"


def test_every_script_is_played_and_has_a_control() -> None:
    for seed in SEEDS:
        plans = population(seed, 30, 50)
        assert {plan.script.name for plan in plans} == {script.name for script in SCRIPTS}
        assert len({plan.name for plan in plans}) == 30
        assert [plan.at for plan in plans] == sorted(plan.at for plan in plans)
    assert [plan.name for plan in controls()] == [script.name for script in SCRIPTS]


def test_a_job_that_takes_anothers_output_names_one_that_completes() -> None:
    for plans in (controls(), population(3, 50, 50)):
        complete = {plan.name for plan in plans if plan.script.name == "complete"}
        upstreams = {plan.spec["model"]["fromJob"] for plan in plans if plan.script.after}
        assert upstreams <= complete
        assert upstreams


def test_a_merge_patch_adds_replaces_and_removes() -> None:
    spec = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(spec, {"a": {"b": None, "e": 4}, "f": 5}) == {"a": {"c": 2, "e": 4}, "d": 3, "f": 5}
    assert spec == {"a": {"b": 1, "c": 2}, "d": 3}
