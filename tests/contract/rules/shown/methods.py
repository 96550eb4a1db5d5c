"""The settings of one method."""

import math
from pathlib import Path

import pytest
import torch

from alignment_operator.api.spec import Spec
from tests.contract.rules import harness
from tests.contract.rules.harness import World
from tests.contract.rules.shown.case import bad
from tests.rule_cases import Case, merge


def no_method_no_trainer(case: Case, world: World, out: Path) -> None:
    with pytest.raises(StopIteration):
        harness.method_of(bad(case))


def two_methods_one_is_ignored(case: Case, world: World, out: Path) -> None:
    assert Spec.model_validate(bad(case)).method == "dpo"
    assert "sft" in bad(case)


def length_zero_trains_nothing(case: Case, world: World, out: Path) -> None:
    """It dies, or every row is dropped, or nothing is learned (no loss, or a gradient of zero)."""
    try:
        history = harness.run(merge(bad(case), {"training": {"loggingSteps": 1}}), world, out).state.log_history
    except Exception:
        return
    first = history[0]
    assert "loss" not in first or math.isnan(first["loss"]) or 0.0 in (first["grad_norm"], first["loss"])


def no_limit_means_512(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).max_length == 512


def sync_mixes_two_models(case: Case, world: World, out: Path) -> None:
    from transformers import AutoModelForCausalLM

    named = AutoModelForCausalLM.from_pretrained(world.path("other"))
    after = harness.run(merge(bad(case), {"training": {"maxSteps": 2}}), world, out).ref_model
    assert not torch.allclose(named.lm_head.weight, after.lm_head.weight.cpu().float())


def robust_divides_by_zero(case: Case, world: World, out: Path) -> None:
    settings = merge(bad(case), {"training": {"loggingSteps": 1, "loggingNanInfFilter": False}})
    try:
        loss = harness.run(settings, world, out).state.log_history[0]["loss"]
    except ZeroDivisionError:
        return
    assert loss in (float("inf"), float("-inf")) or loss != loss


def dpo_pads_all_the_same(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).padding_free is False


def alphapo_overwrites_alpha(case: Case, world: World, out: Path) -> None:
    assert harness.training_config(bad(case), out).cpo_alpha == 0.0
