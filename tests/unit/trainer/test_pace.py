"""The remaining time is that of this attempt's pace, also right after a resume."""

import pytest

from alignment_trainer import pace as module
from alignment_trainer.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_before_the_first_step_nothing_is_known(clock):
    pace = Pace()
    pace.begin(0)
    assert pace.remaining_seconds(100) is None
    assert pace.step_seconds is None


@pytest.mark.parametrize("resumed_from", [0, 5000])
def test_earlier_attempts_do_not_count(clock, resumed_from):
    pace = Pace()
    pace.begin(resumed_from)
    for step in range(1, 11):
        clock.now += 2.0
        pace.step(resumed_from + step)
    assert pace.remaining_seconds(resumed_from + 30) == 40
    assert pace.step_seconds == 2.0


def test_a_slow_first_step_is_left_out_of_the_rate(clock):
    pace = Pace()
    pace.begin(0)
    clock.now += 60.0  # compilation
    pace.step(1)
    for step in range(2, 6):
        clock.now += 1.0
        pace.step(step)
    assert pace.remaining_seconds(15) == 10


def test_at_the_end_nothing_remains(clock):
    pace = Pace()
    pace.begin(0)
    clock.now += 1.0
    pace.step(1)
    assert pace.remaining_seconds(1) == 0


def test_tokens_per_second_counts_from_the_first_log_of_this_attempt(clock):
    pace = Pace()
    pace.tokens(1_000_000)
    assert pace.tokens_per_second is None
    clock.now += 10.0
    pace.tokens(1_005_000)
    assert pace.tokens_per_second == 500.0
