"""The life of one attempt inside a worker: what train.py calls (lifecycle.py); events.py is what transformers calls.

Every process of the run has one; rank 0 decides and speaks, the others follow.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from . import checkpoint, durable, exits, group, journal
from .events import Events
from .finite import FiniteGuard, diverged
from .lifecycle import Phase
from .pace import Pace
from .progress import Progress
from .reports import Reports
from .run_config import RunConfig
from .saving import AtomicSaving
from .stopping import Stop

TRAINED = "trained"
AT_ONCE = ("Loading", "Precomputing", "Merging", "Pushing")  # phases that SIGTERM ends at once


class RunningAttempt:
    """Implements lifecycle.Lifecycle. Raises exits.Preempted (and its kin) to end the attempt."""

    def __init__(self, run: RunConfig, reports: Reports, stop: Stop) -> None:
        self.run, self.reports, self.stop = run, reports, stop
        self.folder = Path(run.outputPath)
        self.number = int(os.environ.get("ALIGNMENT_ATTEMPT", "1"))
        self.only_finish = bool(os.environ.get("ALIGNMENT_ONLY_FINISH"))
        self.early_reason: str | None = None
        self.stopping = self.training_over = False
        self.resumed: checkpoint.Checkpoint | None = None
        self.guard: FiniteGuard | None = None
        self.facts: dict[str, Any] = {}
        self.pace = Pace()
        self.first = group.rank() == 0
        self.progress = Progress.from_environment(run.progressIntervalSeconds if self.first else None)
        self.tell(attempt=self.number)

    # what train.py calls

    def phase(self, phase: Phase) -> None:
        stepping = phase in ("Training", "Evaluating", "Saving") and self.pace.steps > 0 and not self.training_over
        self.tell(phase=phase, stepping=stepping, urgent=True)
        nothing_to_lose = phase in AT_ONCE or (phase in ("Training", "Evaluating") and self.pace.steps == 0)
        self.stop.interruptible(nothing_to_lose, phase)

    def already_trained(self) -> bool:
        if not self.only_finish:
            return False
        self.tell(**json.loads((self.folder / TRAINED).read_text()))
        return True

    def precomputed(self, split: str, done: int, total: int, remaining_seconds: int | None) -> None:
        batches = {"split": split, "done": done, "total": total, "remainingSeconds": remaining_seconds}
        self.tell(precomputed=batches)

    def dataset_report(self, rows: int | None, dropped: int | None, truncated: int | None) -> None:
        counts = {"rows": rows, "droppedRows": dropped, "truncatedRows": truncated}
        self.tell(dataset={name: count for name, count in counts.items() if count is not None})

    def callbacks(self, trainer: Any) -> list[TrainerCallback]:
        self._assert_world(trainer)
        AtomicSaving(trainer, self)
        return [Events(self, trainer)]

    def resume_from(self) -> str | None:
        """Rank 0 looks, all resume from the same. Earlier steps that are lost are counted from the journal."""
        found = checkpoint.latest(self.folder, warn=True) if self.first else None
        found, self.number = group.from_first((found, self.number))
        self.resumed = found
        step = found.step if found else 0
        earlier = [attempt for attempt in journal.Journal(self.folder).attempts() if attempt.number < self.number]
        if earlier:
            self.tell(resumedFromStep=step, lostSteps=journal.lost_steps(earlier, step))
        if found:
            self.tell(lastCheckpointStep=step, lastCheckpointTime=found.time)
        self.tell(attempt=self.number, step=step)
        return str(found.path) if found else None

    def check(self, trainer: Any) -> None:
        state = trainer.state
        self.training_over = True
        if self.early_reason or 0 < state.global_step == state.max_steps:
            if self.guard and self.guard.applied_steps == 0 and self.pace.steps > 0:
                raise diverged(state.global_step, "the fp16 scaler skipped every step")
            return
        if self.stop.requested or self.stopping:
            raise exits.Preempted(f"Stopped by SIGTERM; checkpoint at step {state.global_step} of {state.max_steps}.")
        if state.global_step == 0:
            raise exits.DataError("The dataset gave no batch.", cure="Check spec.dataset: its split has no usable row.")
        raise exits.Internal(f"Training ended after {state.global_step} of {state.max_steps} steps without a reason.")

    def trained(self, trainer: Any) -> None:
        """After the last barrier, before anyone exits 0."""
        group.barrier()
        if self.first:
            names = ("step", "totalSteps", "metrics", "dataset", "findings", "lastCheckpointStep", "earlyReason")
            facts = {name: self.facts[name] for name in names if name in self.facts}
            for file in self.folder.iterdir():
                if file.is_file():
                    durable.sync_file(file)
            durable.write_file(self.folder / TRAINED, json.dumps(facts).encode())
        group.barrier()

    def finished(self, artifacts: dict[str, str]) -> None:
        step, total = self.facts.get("step", 0), self.facts.get("totalSteps", 0)
        kinds = ", ".join(artifacts)
        early = self.facts.get("earlyReason")
        message = f"{step} of {total} steps; saved: {kinds}." if not early else f"Stopped after {step} steps: {early}"
        outcome = "StoppedEarly" if early else "Complete"
        self.tell(artifacts=artifacts, finished={"outcome": outcome, "message": message})

    # for callbacks and watchers

    def stop_early(self, reason: str) -> None:
        """End the training by choice after this step; the run counts as complete with outcome StoppedEarly."""
        self.early_reason = reason
        self.tell(earlyReason=reason)

    def tell(self, urgent: bool = False, more_follows: bool = False, **facts: Any) -> None:
        """Keep facts and pass them on to the launcher and (rank 0), unless `more_follows` at once, to the operator."""
        self.facts |= facts
        self.reports.send(**facts)
        if not more_follows:
            self.progress.update(self.facts, urgent=urgent)

    def close(self, seconds: float | None = None) -> None:
        """Send the last report; waits `seconds` at most (default: one time-out)."""
        self.progress.close(seconds)

    def _assert_world(self, trainer: Any) -> None:
        expected, actual = int(os.environ.get("ALIGNMENT_WORLD_SIZE", "1")), trainer.args.world_size
        if actual != expected:
            raise exits.UserError(
                f"TRL trains with {actual} processes instead of nodes x processesPerNode = {expected}.",
                cure="Check spec.nodes, spec.processesPerNode and spec.gpusPerNode.",
            )
