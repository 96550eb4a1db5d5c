"""The figures of bench/train: what a record means, ratios by round, and the tables."""

from __future__ import annotations

from typing import Any

import pytest

from bench.train import record, table
from bench.train.record import Run

MAIN, BESIDE = True, False


def worker(**changes: Any) -> dict[str, Any]:
    """The record of a process that was ready at 12 s, began training at 20 s and took three steps."""
    facts: dict[str, Any] = {
        "argv": ["dpo.py"],
        "started": 12.0,
        "beganTraining": 20.0,
        "cpuSeconds": 40.0,
        "peakRss": 1,
        "peakCuda": None,
        "threads": 2,
        "fedTokens": 300,
        "spans": [("imports", MAIN, 12.0, 15.0), ("model", MAIN, 15.0, 16.0), ("trainer", MAIN, 16.0, 20.0)],
        "steps": [(24.0, 16.0), (26.0, 19.0), (28.0, 22.0)],
        "logs": [{"loss": 0.69, "num_tokens": 100.0}, {"loss": 0.68, "num_tokens": 200.0}, {"train_loss": 0.6}],
    }
    return {**facts, **changes}


LAUNCHER = {**worker(), "steps": [], "beganTraining": None, "cpuSeconds": 5.0, "spans": [], "logs": []}


def parsed(**changes: Any) -> Run:
    return record.parse([LAUNCHER, worker(**changes)], begun=10.0, samples_per_step=4, peak_rss=1 << 30)


def test_the_rate_leaves_out_the_first_step() -> None:
    assert parsed().samples_per_second == pytest.approx(2 * 4 / 4.0)
    assert parsed().cpu_seconds_per_sample == pytest.approx(6.0 / 8)


def test_one_step_has_no_rate() -> None:
    run = parsed(steps=[(24.0, 16.0)])
    assert run.samples_per_second is None
    assert run.cpu_seconds_per_sample is None


def test_the_first_step_is_counted_from_the_start_of_the_first_process() -> None:
    assert parsed().first_step_seconds == pytest.approx(14.0)


def test_its_cpu_seconds_hold_those_of_the_launcher() -> None:
    assert parsed().first_step_cpu_seconds == pytest.approx(16.0 + 5.0)


def test_tokens_and_losses_come_from_the_log() -> None:
    run = parsed()
    assert (run.fed_tokens, run.real_tokens, run.losses) == (300, 200, [0.69, 0.68])


def test_the_phases_add_up_to_the_time_to_the_first_step() -> None:
    run = parsed()
    assert sum(run.phases.values()) == pytest.approx(run.first_step_seconds)
    assert {phase: seconds for phase, seconds in run.phases.items() if seconds} == pytest.approx(
        {"launcher": 2.0, "imports": 3.0, "model": 1.0, "trainer": 4.0, "first step": 4.0}
    )


def test_a_run_without_a_step_is_no_figure() -> None:
    with pytest.raises(record.NoTraining):
        record.parse([LAUNCHER], begun=0.0, samples_per_step=1, peak_rss=0)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([], {"other": 10.0}, id="nothing-known"),
        pytest.param(
            [("trainer", MAIN, 0.0, 10.0), ("imports", MAIN, 2.0, 5.0)],
            {"trainer": 7.0, "imports": 3.0},
            id="the-inner-span-counts",
        ),
        pytest.param(
            [("dataset", MAIN, 0.0, 4.0), ("model", BESIDE, 1.0, 9.0)],
            {"dataset": 4.0, "model": 5.0, "other": 1.0},
            id="another-thread-counts-while-the-main-thread-waits",
        ),
        pytest.param([("imports", MAIN, -5.0, 3.0)], {"imports": 3.0, "other": 7.0}, id="cut-at-the-beginning"),
        pytest.param([("first step", MAIN, 8.0, 12.0)], {"other": 8.0, "first step": 2.0}, id="cut-at-the-end"),
    ],
)
def test_every_moment_belongs_to_one_phase(spans: list[record.Span], expected: dict[str, float]) -> None:
    phases = record.split(spans, 0.0, 10.0)
    assert {phase: seconds for phase, seconds in phases.items() if seconds} == expected


def run(rate: float | None = 1.0, **changes: Any) -> Run:
    facts: dict[str, Any] = {
        "samples_per_second": rate,
        "cpu_seconds_per_sample": 1.0,
        "first_step_seconds": 20.0,
        "first_step_cpu_seconds": 15.0,
        "phases": {**dict.fromkeys(record.PHASES, 0.0), "imports": 20.0},
        "peak_rss": 1 << 30,
        "peak_cuda": None,
        "fed_tokens": 150,
        "real_tokens": 100,
        "threads": 2,
        "losses": [],
    }
    return Run(**{**facts, **changes})


def rate(run: Run) -> float | None:
    return run.samples_per_second


def test_ratios_are_taken_round_by_round() -> None:
    stock, ours = [run(1.0), run(0.1), run(1.0)], [run(2.0), run(0.2), run(5.0)]
    assert table.over(ours, stock, rate) == pytest.approx(2.0)


def test_a_round_without_a_figure_gives_no_ratio() -> None:
    assert table.over([run(None)], [run(None)], rate) is None


@pytest.mark.parametrize(
    ("value", "form", "ratio", "text"),
    [
        (None, ".1f", None, "-"),
        (1.25, ".2f", None, "1.25"),
        (1.25, ".2f", 0.5, "1.25 (0.50x)"),
        (0.0, ".1f", None, "0.0"),
    ],
)
def test_a_cell_shows_the_figure_and_its_ratio(value: float | None, form: str, ratio: float | None, text: str) -> None:
    assert table.cell(value, form, ratio) == text


def test_the_table_of_speed() -> None:
    lines = table.speed({"stock": [run(1.0)], "ours": [run(2.0, peak_rss=1 << 29, fed_tokens=90)]}).splitlines()
    assert lines[2] == "| stock | 1.000 | 1.00 | 1.50 | 1024 | 20.0 | 15.0 |"
    assert lines[3] == "| ours | 2.000 (2.00x) | 1.00 (1.00x) | 0.90 | 512 (0.50x) | 20.0 (1.00x) | 15.0 (1.00x) |"


def test_on_a_gpu_its_memory_counts() -> None:
    assert table.peak_memory(run(peak_cuda=3 << 20)) == 3


def test_the_table_of_phases_has_one_column_per_variant() -> None:
    faster = {**dict.fromkeys(record.PHASES, 0.0), "imports": 5.0}
    lines = table.phases({"stock": [run()], "ours": [run(phases=faster)]}).splitlines()
    assert lines[0] == "| phase, s | stock | ours |"
    assert "| imports | 20.00 | 5.00 (0.25x) |" in lines
