"""The short form of `python -m bench.survival`: killed in each phase of its loop, a run ends as if it had not been."""

import signal

from bench.survival import curve, difference, moments, playground, survive

STEPS = 120


def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_nothing_disturbs(tmp_path, zygote):
    with playground(tmp_path, STEPS, zygote.start) as (straight, disturbed, listener):
        straight.complete()
        struck = survive(disturbed, listener, moments(3, seed=1), signal.SIGKILL)
        assert [blow.exit_code for blow in struck] == [137] * 3
        assert all(blow.lost_steps <= 10 for blow in struck), "no more than since the last checkpoint"
        assert difference(curve(straight, STEPS), curve(disturbed, STEPS)) == {}
        weights = [(run.output / "model.safetensors").read_bytes() for run in (straight, disturbed)]
        assert weights[0] == weights[1]
