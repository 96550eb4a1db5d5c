"""A run that is ended again and again at random moments, against one that nothing disturbs: is the curve the same?

`python -m bench.survival [--signal KILL TERM] [--times 20] [--seed 0]` prints the tables of docs/survival.md. Real
launchers and workers, the trainer's own checkpoints; a tiny model, so that an attempt is mostly the start of Python.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignment_trainer import checkpoint
from tests.contract.lifecycle.listener import Listener
from tests.contract.lifecycle.pods import Pod, Run, Start, cold_start
from tests.tiny import tiny_model, tiny_preferences

RECIPE = {
    "max_steps": 600,
    "logging_steps": 1,
    "save_steps": 10,
    "save_total_limit": 2,
    "eval_strategy": "steps",
    "eval_steps": 15,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 2,
    "learning_rate": 1e-3,
    "max_length": 64,
    "bf16": False,
    "gradient_checkpointing": False,
    "precompute_ref_log_probs": True,
}
PHASES = ("Training", "Evaluating", "Saving")
LONGEST_DELAY = {"Loading": 5.0, "Precomputing": 0.8, "Training": 0.1, "Evaluating": 0.15, "Saving": 0.05}  # seconds
_CLOCK = ("runtime", "per_second")  # metrics that no two runs share


@dataclass(frozen=True)
class Moment:
    """`seconds` into the first `phase` that begins at least `steps` steps after what the attempt resumes from."""

    phase: str
    steps: int
    seconds: float


@dataclass
class Blow:
    """What one moment came to: where it hit, and how the next attempt went on."""

    phase: str
    step: int
    exit_code: int
    broken: list[str] = field(default_factory=list)  # checkpoints that it left half written
    resumed_from: int = 0
    lost_steps: int = 0


def moments(times: int, seed: int) -> list[Moment]:
    """Loading, twice precomputing (its result is kept once it is there), then any phase of the training loop."""
    rng = random.Random(seed)
    first = ["Loading", "Precomputing", "Precomputing"][: max(0, times - len(PHASES))]
    phases = first + [PHASES[index % len(PHASES)] for index in range(times - len(first))]
    phases[len(first) :] = rng.sample(phases[len(first) :], times - len(first))
    return [Moment(phase, rng.randint(1, 25), rng.uniform(0, LONGEST_DELAY[phase])) for phase in phases]


def survive(run: Run, listener: Listener, blows: Iterable[Moment], number: signal.Signals) -> list[Blow]:
    """End an attempt of the run at each moment, then let it come to its end."""
    struck: list[Blow] = []
    for moment in blows:
        pod = run.start()
        _note_start(run, struck, pod)
        blow = strike(run, pod, listener, moment, number)
        struck.append(blow)
    _note_start(run, struck, last := run.start())
    if last.wait() != 0:
        raise RuntimeError(f"The last attempt failed: {last.output[-3000:]}")
    return struck


def strike(run: Run, pod: Pod, listener: Listener, moment: Moment, number: signal.Signals) -> Blow:
    """Wait for the moment and send the signal to the launcher; its workers die with it or save, as the signal says."""
    _wait_for(run, pod, listener, moment)
    time.sleep(moment.seconds)
    phase = listener.facts.get("phase", "Loading")
    pod.process.send_signal(number)
    code = pod.wait()
    step = run.heartbeat().get("step", 0)
    folders = sorted(run.output.glob("checkpoint-*"))
    return Blow(phase, step, code, [folder.name for folder in folders if checkpoint.defect(folder)])


def _wait_for(run: Run, pod: Pod, listener: Listener, moment: Moment) -> None:
    listener.facts = {}
    while run.attempts_begun() < len(run.pods):
        _still_running(pod)
    if moment.phase == "Loading":
        return
    found = checkpoint.latest(run.output)
    least = 0 if moment.phase == "Precomputing" else (found.step if found else 0) + moment.steps
    while listener.facts.get("phase") != moment.phase or listener.facts.get("step", 0) < least:
        _still_running(pod)


def _still_running(pod: Pod) -> None:
    if pod.process.poll() is not None:
        raise RuntimeError(f"The attempt ended before the moment came: {pod.output[-3000:]}")
    time.sleep(0.001)


def _note_start(run: Run, struck: list[Blow], pod: Pod) -> None:
    """What the new attempt found is what the last blow has cost."""
    if not struck:
        return
    while run.attempts_begun() < len(run.pods):
        _still_running(pod)
    start = next(event for event in reversed(run.journal()) if event["event"] == "start")
    struck[-1].resumed_from = start["checkpointStep"]
    struck[-1].lost_steps = struck[-1].step - start["checkpointStep"]


def curve(run: Run, last: int) -> dict[tuple[int, str], float]:
    """(step, metric) -> value of all that was logged up to the step `last`, unrounded."""
    state = json.loads((run.output / f"checkpoint-{last}" / "trainer_state.json").read_text())
    return {
        (entry["step"], name): value
        for entry in state["log_history"]
        for name, value in entry.items()
        if name != "step" and not name.endswith(_CLOCK)
    }


def difference(one: dict[tuple[int, str], float], other: dict[tuple[int, str], float]) -> dict[tuple[int, str], Any]:
    """What the two curves do not share."""
    return {at: (one.get(at), other.get(at)) for at in one.keys() | other.keys() if one.get(at) != other.get(at)}


@contextmanager
def playground(root: Path, steps: int, launch: Start = cold_start) -> Iterator[tuple[Run, Run, Listener]]:
    """A run to leave alone, a run to disturb, and who listens to the latter."""
    tiny_model(root / "model", hidden=32)
    (root / "data").mkdir()
    tiny_preferences(root / "data" / "train.jsonl", 256)
    tiny_preferences(root / "data" / "test.jsonl", 32, seed=1)
    recipe = {**RECIPE, "max_steps": steps}
    recipe |= {"model_name_or_path": str(root / "model"), "dataset_name": str(root / "data")}
    listener = Listener()
    environments = {"straight": {}, "disturbed": {**listener.environment}}
    runs = []
    for name, environment in environments.items():
        (root / name).mkdir()
        environment |= {"HF_HOME": str(root / name / "cache"), "OMP_NUM_THREADS": "1"}
        runs.append(Run(root / name, recipe, {"progressIntervalSeconds": 0.001}, environment, launch))
    try:
        yield runs[0], runs[1], listener
    finally:
        for run in runs:
            run.end()
        listener.close()


def table(struck: list[Blow]) -> str:
    """Markdown."""
    rows = ["| # | ended while | at step | exit code | half-written checkpoint | resumed from step | lost steps |"]
    rows.append("|---|---|---|---|---|---|---|")
    for index, blow in enumerate(struck, 1):
        broken = ", ".join(blow.broken) or "-"
        cells = (index, blow.phase, blow.step, blow.exit_code, broken, blow.resumed_from, blow.lost_steps)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def main() -> int:
    given = arguments()
    steps = RECIPE["max_steps"] if given.times > 3 else 120
    return max(report(signal.Signals[f"SIG{name}"], given.times, given.seed, steps) for name in given.signal)


def report(number: signal.Signals, times: int, seed: int, steps: int) -> int:
    """Print the table for one signal; 1 if the disturbed run came out differently, else 0."""
    with tempfile.TemporaryDirectory() as root, playground(Path(root), steps) as (straight, disturbed, listener):
        straight.complete()
        struck = survive(disturbed, listener, moments(times, seed), number)
        apart = difference(curve(straight, steps), curve(disturbed, steps))
        weights = [(run.output / "model.safetensors").read_bytes() for run in (straight, disturbed)]
        count = len(curve(straight, steps))
    print(f"\n{number.name}, {times} times, seed {seed}:\n\n{table(struck)}")
    print(f"\nOf {count} logged values {count - len(apart)} are equal; the final weights are", end=" ")
    print("equal, byte for byte." if weights[0] == weights[1] else "not equal.", flush=True)
    for at in sorted(apart)[:10]:
        print(f"step {at[0]}, {at[1]}: {apart[at][0]} undisturbed, {apart[at][1]} disturbed")
    return int(bool(apart) or weights[0] != weights[1])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.survival", description=__doc__)
    parser.add_argument("--signal", nargs="+", choices=["KILL", "TERM"], default=["KILL", "TERM"])
    parser.add_argument("--times", type=int, default=20, help="how often the run is ended (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
