"""What transformers calls back while it trains: the step's numbers told, a stop heeded, a diverged run ended.

Every process of the run listens; what they do together (a stop, the largest memory) they agree on through group.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from . import exits, group, journal
from .finite import FiniteGuard
from .health import findings
from .pace import peak_memory_bytes
from .report.history import of_whole_run
from .resuming import owes_evaluation
from .saving import save_amid_evaluation

if TYPE_CHECKING:
    from .attempt import RunningAttempt


class Events(TrainerCallback):
    """What happens in the training loop, in the order of transformers' Trainer."""

    def __init__(self, attempt: RunningAttempt, trainer: Any) -> None:
        self.attempt, self.trainer = attempt, trainer
        self.guard = attempt.guard = FiniteGuard(trainer)
        _skip_epochs_when_done(trainer)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.attempt.stop.take_signal()
        resumed = self.attempt.resumed
        if resumed and hasattr(self.trainer, "_total_train_tokens"):  # TRL restarts its counter at 0
            self.trainer._total_train_tokens = resumed.facts.get("totalTrainTokens", 0)
        if resumed:
            args.eval_on_start = owes_evaluation(args, state)
        self.attempt.tell(step=state.global_step, totalSteps=state.max_steps)
        self.attempt.phase("Evaluating" if args.eval_on_start else "Training")
        self.attempt.pace.begin(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.attempt.facts.get("phase") != "Training":
            self.attempt.phase("Training")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        attempt = self.attempt
        self.guard.check_step(state.global_step)
        first = attempt.pace.steps == 0
        attempt.pace.step(state.global_step)
        if first:
            attempt.stop.interruptible(False)
        if attempt.early_reason:
            control.should_training_stop = True
        if group.any_of(attempt.stop.requested) and state.global_step < state.max_steps:
            self._stop(control)
        facts = {"step": state.global_step, "epoch": state.epoch, "stepping": True}
        facts["remainingSeconds"] = attempt.pace.remaining_seconds(state.max_steps)
        facts["stepSeconds"] = attempt.pace.step_seconds
        attempt.tell(more_follows=control.should_log, **facts)  # a step and its metrics make one report

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        attempt = self.attempt
        resumed_from = attempt.resumed.step if attempt.resumed else 0
        whole_run = of_whole_run(logs or {}, state.log_history, resumed_from)
        numbers = {name: value for name, value in whole_run.items() if isinstance(value, int | float)}
        attempt.pace.tokens(numbers.get("num_tokens"))
        facts = {
            "metrics": attempt.facts.get("metrics", {}) | numbers,
            "tokensPerSecond": attempt.pace.tokens_per_second,
            "peakMemoryBytes": group.largest(peak_memory_bytes()),
            "findings": findings(state.log_history, attempt.run.health),
        }
        attempt.tell(**facts)
        if facts["findings"] and attempt.run.health.stopOnUnhealthy and not attempt.training_over:
            self._stop_early(facts["findings"][0], state, control)
        if state.global_step and control.should_evaluate:
            attempt.phase("Evaluating")

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.attempt.facts.get("phase") != "Evaluating":
            self.attempt.phase("Evaluating")
        self.attempt.tell(evaluatedAt=time.monotonic())  # a sign of life for the hang watch
        if self.attempt.pace.steps and group.any_of(self.attempt.stop.requested):
            self.attempt.stopping = True
            save_amid_evaluation(self.trainer)
            where = f"checkpoint at step {state.global_step} of {state.max_steps}"
            raise exits.Preempted(f"Stopped by SIGTERM while evaluating; {where}.")

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.attempt.phase("Training")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.attempt.tell(lastCheckpointStep=state.global_step, lastCheckpointTime=journal.timestamp())
        self.attempt.phase("Training")
        if group.any_of(self.attempt.stop.requested) and state.global_step < state.max_steps:
            self._stop(control)  # what must be saved just was
            control.should_log = control.should_save = False

    def _stop_early(self, finding: str, state: Any, control: Any) -> None:
        if self.attempt.early_reason is None and state.global_step < state.max_steps:
            self.attempt.stop_early(finding)
            control.should_save = control.should_training_stop = True

    def _stop(self, control: Any) -> None:
        """Save at this step and leave; an evaluation that was due is dropped, the log is not."""
        self.attempt.stopping = True
        self.trainer.args.load_best_model_at_end = False  # the grace period is short
        control.should_log = control.should_save = control.should_training_stop = True
        control.should_evaluate = False


def _skip_epochs_when_done(trainer: Any) -> None:
    """transformers trains one step too many when it resumes from the checkpoint of the last step."""
    run_epoch = trainer._run_epoch

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if trainer.state.global_step >= trainer.state.max_steps > 0:
            trainer.control.should_training_stop = True
            return None
        return run_epoch(*args, **kwargs)

    trainer._run_epoch = guarded
