"""A step with a NaN or infinite loss or gradient ends the run; one that the fp16 scaler threw away does not."""

import types

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from alignment_trainer.exits import Diverged
from alignment_trainer.finite import MAX_SKIPPED_IN_A_ROW, FiniteGuard

NAN, INF = float("nan"), float("inf")


class Loop:
    """The three things of transformers' Trainer that the guard looks at."""

    def __init__(self):
        self.accelerator = types.SimpleNamespace(optimizer_step_was_skipped=False)
        self.losses, self.norm = [], 1.0

    def training_step(self, model, inputs, count=None):
        return torch.tensor(self.losses.pop(0))

    def _get_grad_norm(self, model, grad_norm=None):
        return self.norm


def step(loop, guard, losses, norm, skipped=False):
    loop.losses, loop.norm, loop.accelerator.optimizer_step_was_skipped = list(losses), norm, skipped
    for _ in losses:
        loop.training_step(None, None)
    loop._get_grad_norm(None)
    guard.check_step(7)


@pytest.fixture
def loop():
    return Loop()


@pytest.mark.parametrize(("losses", "norm"), [([0.7], 1.0), ([0.7, 0.6], 0.0), ([0.7], None), ([1e30], 1e30)])
def test_a_sound_step_passes(loop, losses, norm):
    guard = FiniteGuard(loop)
    step(loop, guard, losses, norm)
    assert guard.applied_steps == 1


@pytest.mark.parametrize(
    ("losses", "norm", "named"),
    [
        ([NAN], 1.0, "loss is nan"),
        ([0.7, INF, 0.7], 1.0, "loss is inf"),
        ([INF, NAN, 0.7], 1.0, "loss is inf"),
        ([0.7], NAN, "norm"),
        ([0.7], INF, "norm"),
    ],
)
def test_a_broken_step_ends_the_run(loop, losses, norm, named):
    with pytest.raises(Diverged, match=named) as caught:
        step(loop, FiniteGuard(loop), losses, norm)
    assert "step 7" in caught.value.message


def test_a_step_that_the_scaler_skipped_is_no_divergence_and_forgotten(loop):
    guard = FiniteGuard(loop)
    step(loop, guard, [INF], NAN, skipped=True)
    step(loop, guard, [0.7], 1.0)
    assert guard.applied_steps == 1


def test_skipping_for_ever_is_a_divergence(loop):
    guard = FiniteGuard(loop)
    for _ in range(MAX_SKIPPED_IN_A_ROW):
        step(loop, guard, [0.7], INF, skipped=True)
    with pytest.raises(Diverged, match="in a row"):
        step(loop, guard, [0.7], INF, skipped=True)


class Reads(TorchDispatchMode):
    """Counts the values that are fetched from a device: each makes the host wait for it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation is torch.ops.aten._local_scalar_dense.default
        return operation(*args, **(kwargs or {}))


def test_losses_are_read_once_in_an_optimizer_step(loop):
    guard = FiniteGuard(loop)
    loop.losses = [0.7, 0.6, 0.5]
    with Reads() as reads:
        for _ in range(3):
            loop.training_step(None, None)
        assert reads.count == 0
        guard.check_step(1)
        assert reads.count == 1
