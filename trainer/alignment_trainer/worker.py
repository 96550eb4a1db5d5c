"""One process of a run: `python -m alignment_trainer.worker`, started by the launcher."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .exits import EX_OK, GpuOutOfMemory, PeerFailed, TrainerError
from .reports import Reports
from .stopping import Stop

if TYPE_CHECKING:
    from .attempt import RunningAttempt

TRACKERS_SECONDS = 15.0  # for the trackers of a failed run to write what they hold
_PR_SET_PDEATHSIG = 1


def main() -> int:
    reports = Reports.from_environment()
    stop = Stop(reports)
    stop.install()  # before any heavy import
    _die_with_the_launcher()
    faulthandler.enable(all_threads=True)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    attempt = None
    try:
        attempt = _join(reports, stop)
        _train(attempt)
    except BaseException as error:
        _failed(error, reports, attempt)
    return EX_OK


def config_file(name: str) -> Path:
    return Path(os.environ.get("ALIGNMENT_CONFIG_DIR") or "/etc/alignment") / name


def _join(reports: Reports, stop: Stop) -> RunningAttempt:
    """Meet the other processes."""
    from . import group, imports
    from .run_config import load_run_config

    run = load_run_config(config_file("run.yaml"))
    imports.defer(imports.BITSANDBYTES)
    if run.device == "cpu":
        imports.do_without(imports.TRITON)
    from .attempt import RunningAttempt

    imports.spare_peft_bitsandbytes()
    reports.send(phase="Loading")
    group.join(run.device, _ddp_timeout(config_file("recipe.yaml")))
    reports.send(joined=True)
    return RunningAttempt(run, reports, stop)


def _train(attempt: RunningAttempt) -> None:
    from . import group, train

    train.run(config_file("recipe.yaml"), config_file("run.yaml"), attempt)
    attempt.close()
    group.leave()


def _ddp_timeout(recipe: Path) -> int | None:
    """The recipe's ddp_timeout; anything odd is left for the recipe's own check to name."""
    import yaml

    try:
        value = yaml.safe_load(recipe.read_text()).get("ddp_timeout")
    except (OSError, yaml.YAMLError, AttributeError):
        return None
    return value if isinstance(value, int) and value > 0 else None


def _failed(error: BaseException, reports: Reports, attempt: RunningAttempt | None) -> NoReturn:
    """Say why and go at once. Does not return."""
    from .diagnosis import classify

    known = classify(error)
    if not isinstance(error, type(known)):
        traceback.print_exception(error)
    if isinstance(known, GpuOutOfMemory) and attempt is not None and attempt.run.outOfMemoryLadder:
        known = _a_rung_lower(known, attempt.run.outputPath)
    print(f"[alignment] {known.class_name}: {known}", file=sys.stderr)
    failure = {"class": known.class_name, "exitCode": known.exit_code, "message": known.message, "cure": known.cure}
    reports.send(failure={**failure, "peer": isinstance(known, PeerFailed)})
    if attempt is not None:
        attempt.close(seconds=2.0)
    _leave(known.exit_code)


def _leave(exit_code: int) -> NoReturn:
    """Without the interpreter's own end, which could wait for a peer for ever; the trackers' part of it has a limit."""
    from . import trackers

    sys.stdout.flush()
    sys.stderr.flush()
    deadline = threading.Timer(TRACKERS_SECONDS, os._exit, [exit_code])
    deadline.daemon = True
    deadline.start()
    trackers.finish(exit_code)  # in the main thread: MLflow knows its run in the thread that began it
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _a_rung_lower(error: GpuOutOfMemory, folder: str) -> TrainerError:
    """The same error, and what the run goes on with; the launcher finds the rung in the output folder."""
    from . import config, ladder

    try:
        training_args = config.load_config(config_file("recipe.yaml"), config_file("run.yaml")).training_args
        rung = ladder.descend(folder, training_args)
    except TrainerError as failure:
        return failure
    fate = f"The run goes on with {ladder.describe(rung)}." if rung else "The out-of-memory ladder has no rung left."
    return GpuOutOfMemory(f"{error.message} {fate}", error.cure)


def _die_with_the_launcher() -> None:
    """Linux: SIGKILL when the launcher is gone. An orphan would write into the folder of the next attempt."""
    launcher = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != launcher:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
