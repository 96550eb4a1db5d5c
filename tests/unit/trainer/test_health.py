"""Each shape of the curves gives its finding, and no other; sound runs and short ones give none."""

import math
import random

import pytest

from alignment_trainer.health import findings, latest
from alignment_trainer.run_config import Health

NAN, INF = float("nan"), float("inf")
LIMITS = Health()


def history(steps=300, every=1, **curves):
    """Log records: each curve is a function of the step (from 1) or a constant; the learning rate falls linearly."""
    curves = {"loss": 0.6, "learning_rate": lambda step: 1e-5 * (1 - step / steps), **curves}
    return [
        {"step": step, **{name: curve(step) if callable(curve) else curve for name, curve in curves.items()}}
        for step in range(every, steps + 1, every)
    ]


def dpo(steps=300, every=1, seed=0, **changes):
    """A sound DPO run with noise: margins and accuracy rise, chosen rewards fall a little."""
    rng = random.Random(seed)
    curves = {
        "rewards/margins": lambda step: 0.004 * step + rng.gauss(0, 0.05),
        "rewards/chosen": lambda step: -0.001 * step + rng.gauss(0, 0.05),
        "rewards/rejected": lambda step: -0.005 * step + rng.gauss(0, 0.05),
        "rewards/accuracies": lambda step: min(1.0, 0.5 + 0.002 * step + rng.choice([-0.25, 0, 0.25])),
    }
    renamed = {name.replace("rewards_", "rewards/"): curve for name, curve in changes.items()}
    return history(steps, every, **(curves | renamed))


def kinds(records, limits=LIMITS):
    return [finding.partition(":")[0] for finding in findings(records, limits)]


def coin(seed):
    rng = random.Random(seed)
    return lambda step: rng.choice([0.25, 0.5, 0.5, 0.75])


CASES = {
    "a sound run": (dpo(), []),
    "a sound run with coarse logging": (dpo(steps=2000, every=10), []),
    "no record at all": ([], []),
    "one record, all zero, as the first step of every DPO run": (dpo(steps=1, rewards_margins=0.0), []),
    "SFT has no rewards": (history(mean_token_accuracy=0.5), []),
    "margins are zero": (dpo(rewards_margins=0.0), ["ZeroMargins"]),
    "margins are rounding noise": (dpo(rewards_margins=lambda step: 1e-6 * (-1) ** step), ["ZeroMargins"]),
    "margins are zero but the run is young": (dpo(steps=60, rewards_margins=0.0), []),
    "margins were zero and are not any more": (dpo(rewards_margins=lambda step: 0.01 * (step > 250)), []),
    "margins are small but there": (dpo(rewards_margins=3e-3), []),
    "a reward model scores alike": (history(margin=0.0), ["ZeroMargins"]),
    "the learning rate warms up": (dpo(rewards_margins=0.0, learning_rate=lambda step: 1e-8 * step), []),
    "the learning rate is constant": (dpo(rewards_margins=0.0, learning_rate=1e-5), ["ZeroMargins"]),
    "chosen falls, margin rises": (
        dpo(rewards_chosen=lambda step: -0.02 * step, rewards_margins=lambda step: 0.01 * step),
        ["ChosenRewardFalls"],
    ),
    "chosen falls with a falling margin: not displacement": (
        dpo(rewards_chosen=lambda step: -0.02 * step, rewards_margins=lambda step: 1 - 0.001 * step),
        [],
    ),
    "chosen fell and stays": (
        dpo(rewards_chosen=lambda step: max(-2.0, -0.05 * step), rewards_margins=lambda step: 0.01 * step),
        [],
    ),
    "chosen falls by less than the limit": (
        dpo(rewards_chosen=lambda step: -0.003 * step, rewards_margins=lambda step: 0.01 * step),
        [],
    ),
    "ORPO's rewards begin below zero": (
        dpo(rewards_chosen=lambda step: -3.0 + 0.001 * step, rewards_margins=lambda step: 0.01 * step),
        [],
    ),
    "accuracy is a coin": (dpo(rewards_accuracies=coin(1)), ["AccuracyAtChance"]),
    "accuracy of a reward model is a coin": (history(accuracy=coin(2), margin=0.3), ["AccuracyAtChance"]),
    "accuracy passes through one half": (dpo(rewards_accuracies=lambda step: step / 500), []),
    "rewards are NaN and the loss says 0.0": (
        [*dpo()[:-1], {**dpo()[-1], "loss": 0.0, "rewards/chosen": NAN, "rewards/margins": NAN}],
        ["NotFinite"],
    ),
    "a whole run of NaN, loss 0.0 at every step": (
        dpo(loss=0.0, rewards_chosen=NAN, rewards_rejected=NAN, rewards_margins=NAN, rewards_accuracies=0.0),
        ["NotFinite"],
    ),
    "SFT: only the gradient shows it": (history(loss=0.0, grad_norm=NAN), ["NotFinite"]),
    "an infinite gradient with a loss is the fp16 scaler's": (history(grad_norm=INF), []),
    "a loss of zero is reached in earnest": (history(loss=0.0, grad_norm=0.0), []),
    "the evaluation is NaN": ([*dpo(), {"step": 300, "eval_loss": NAN}], ["NotFinite"]),
    "a NaN that has passed": (dpo(rewards_chosen=lambda step: NAN if step == 250 else 0.0), []),
    "a summary at the end changes nothing": (
        [*dpo(rewards_margins=0.0), {"step": 300, "train_runtime": 1.0}],
        ["ZeroMargins"],
    ),
}


@pytest.mark.parametrize(("records", "expected"), CASES.values(), ids=CASES.keys())
def test_each_shape_of_the_curves_has_its_finding(records, expected):
    assert kinds(records) == expected


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_makes_no_finding(seed):
    records = dpo(seed=seed)
    assert [found for end in range(1, len(records)) for found in kinds(records[:end])] == []


@pytest.mark.parametrize(
    ("limits", "records"),
    [
        (Health(windowSteps=400), dpo(rewards_margins=0.0)),
        (Health(minMargin=0.0), dpo(rewards_margins=0.0)),
        (Health(chosenRewardDrop=100), dpo(rewards_chosen=lambda s: -0.02 * s, rewards_margins=lambda s: 0.01 * s)),
        (Health(chanceBand=0.0), dpo(rewards_accuracies=coin(1))),
    ],
    ids=["windowSteps", "minMargin", "chosenRewardDrop", "chanceBand"],
)
def test_each_limit_can_silence_its_finding(limits, records):
    assert findings(records, LIMITS)
    assert findings(records, limits) == []


def test_findings_fit_the_contract_and_name_a_field():
    worst = dpo(
        rewards_margins=lambda step: -math.pi * 1e-300 * step,
        rewards_chosen=NAN,
        rewards_rejected=-INF,
        loss=NAN,
        rewards_accuracies=0.5,
    )
    told = findings(worst, LIMITS) + findings(CASES["chosen falls, margin rises"][0], LIMITS)
    assert len(told) == 4
    assert all(len(finding) <= 256 and "spec." in finding for finding in told)


@pytest.mark.parametrize(
    ("every", "steps", "count"), [(1, 300, 100), (10, 300, 10), (50, 300, 5), (100, 300, 0), (100, 1000, 5)]
)
def test_the_window_has_the_last_steps_and_enough_records(every, steps, count):
    window = latest(history(steps, every), 100)
    assert len(window) == count
    assert [record["step"] for record in window] == sorted(record["step"] for record in window)
