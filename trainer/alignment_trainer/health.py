"""Does the run learn a preference? Findings over the log history: pure functions, thresholds from run.yaml.

A run whose rewards say nothing ends like any other, with a model: the loss alone does not tell. What is looked for:
metrics that are no numbers (TRL logs a NaN loss as 0.0, so the others are asked), rewards that do not tell chosen from
rejected, chosen rewards that fall while margins rise (likelihood displacement: Pal et al. 2024, arXiv:2402.13228;
Razin et al. 2024, arXiv:2410.08847), and an accuracy that stays at chance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run_config import Health

Record = Mapping[str, Any]  # one log record of transformers' Trainer: metric -> value, and `step`

MIN_RECORDS = 5  # fewer say nothing about a trend
MARGIN = ("rewards/margins", "margin")  # TRL's names: with pairs; of a reward model
ACCURACY = ("rewards/accuracies", "accuracy")
CHOSEN = ("rewards/chosen",)
SHOULD_BE_FINITE = ("loss", "eval_loss", *CHOSEN, "rewards/rejected", *MARGIN)


def findings(history: Sequence[Record], limits: Health) -> list[str]:
    """What is wrong now, one sentence each (at most 256 characters) with the field to change; empty: nothing known.

    history: the Trainer's `state.log_history`, oldest first. Only its end is read, so the cost does not grow with it.
    """
    found = list(_not_finite(history))
    window = latest(history, limits.windowSteps)
    if window and not _warming_up(window):
        found += [sentence for check in _CHECKS for sentence in check(window, limits, history)]
    return found


def latest(history: Sequence[Record], steps: int) -> list[Record]:
    """The training records of the last `steps` steps, at least MIN_RECORDS of them; empty before there are as many."""
    window: list[Record] = []
    for record in reversed(history):
        if "loss" not in record:  # of an evaluation, or the summary at the end
            continue
        if len(window) >= MIN_RECORDS and record["step"] <= window[0]["step"] - steps:
            break
        window.append(record)
    whole = len(window) >= MIN_RECORDS and window[0]["step"] - window[-1]["step"] >= steps - _stride(window)
    return window[::-1] if whole else []


def _stride(window: list[Record]) -> int:
    """Steps between two records (logging_steps)."""
    return int(window[0]["step"] - window[1]["step"])


def _warming_up(window: list[Record]) -> bool:
    """The learning rate still rose when the window began: small changes are what warm-up is for."""
    first, second = (record.get("learning_rate") for record in window[:2])
    return first is not None and second is not None and first < second


def _values(window: Sequence[Record], names: Sequence[str]) -> list[float]:
    """The metric under the first of `names` that the records have; empty where one lacks it or it is not finite."""
    for name in names:
        values = [record[name] for record in window if isinstance(record.get(name), int | float)]
        if len(values) == len(window) and all(map(math.isfinite, values)):
            return values
    return []


def _not_finite(history: Sequence[Record]) -> Iterator[str]:
    """Said of the newest record alone: what was not finite and is again has passed."""
    record = history[-1] if history else {}
    names = SHOULD_BE_FINITE if record.get("loss") != 0.0 else (*SHOULD_BE_FINITE, "grad_norm")
    broken = [name for name in names if not math.isfinite(record.get(name) or 0.0)]
    if broken:
        values = ", ".join(f"{name} is {record[name]}" for name in broken[:3])
        step = record.get("step", 0)
        yield f"NotFinite: at step {step} {values}. Lower spec.training.learningRate or check the data."


def _rewards_alike(window: list[Record], limits: Health, _: Sequence[Record]) -> Iterator[str]:
    margins = _values(window, MARGIN)
    if margins and max(map(abs, margins)) < limits.minMargin:
        yield (
            f"ZeroMargins: over {_span(window)} no reward margin reached {limits.minMargin:g}: chosen and rejected are "
            "scored alike. Raise spec.training.learningRate, and check that the two completions differ."
        )


def _chosen_falls(window: list[Record], limits: Health, history: Sequence[Record]) -> Iterator[str]:
    chosen, margins = _values(window, CHOSEN), _values(window, MARGIN)
    start = next(iter(_values([_first(history, CHOSEN)], CHOSEN)), None)
    if not chosen or not margins or start is None:
        return
    fifths, (before, *_, after) = _fifths(chosen), _fifths(margins)
    falls = all(later < earlier for earlier, later in itertools.pairwise(fifths))
    if falls and after > before and start - fifths[-1] >= limits.chosenRewardDrop:
        yield (
            f"ChosenRewardFalls: rewards/chosen fell from {start:.3g} to {fifths[-1]:.3g} while the margin rose: the "
            "preferred answers become less likely too. Raise the beta; with DPO, add the sft loss to "
            "spec.dpo.lossType; with CPO, raise spec.cpo.cpoAlpha."
        )


def _at_chance(window: list[Record], limits: Health, _: Sequence[Record]) -> Iterator[str]:
    accuracies = _values(window, ACCURACY)
    if accuracies and all(abs(mean - 0.5) <= limits.chanceBand for mean in _halves(accuracies)):
        yield (
            f"AccuracyAtChance: over {_span(window)} the reward accuracy is {fmean(accuracies):.3f}, as if by chance. "
            "Check which completion is chosen, and spec.training.learningRate."
        )


_CHECKS: tuple[Callable[[list[Record], Health, Sequence[Record]], Iterator[str]], ...] = (
    _rewards_alike,
    _chosen_falls,
    _at_chance,
)


def _first(history: Sequence[Record], names: Sequence[str]) -> Record:
    return next((record for record in history if any(name in record for name in names)), {})


def _fifths(values: list[float]) -> list[float]:
    """Means of five parts in order: a trend without the noise of single records."""
    bounds = [round(part * len(values) / MIN_RECORDS) for part in range(MIN_RECORDS + 1)]
    return [fmean(values[begin:end]) for begin, end in itertools.pairwise(bounds)]


def _halves(values: list[float]) -> tuple[float, float]:
    middle = len(values) // 2
    return fmean(values[:middle]), fmean(values[middle:])


def _span(window: list[Record]) -> str:
    return f"steps {window[0]['step']}-{window[-1]['step']}"
