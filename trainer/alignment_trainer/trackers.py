"""Experiment trackers (`report_to`): checked before anything is loaded, and told to write into the run's folder.

The container's root is read-only and a tracker's default place is the working directory or the home. What the user sets
in the environment (spec.podTemplate) wins; a tracker without a server or a key writes files.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .exits import EX_TEMPFAIL, UserError

if TYPE_CHECKING:
    from .config import Config

FOLDER = "tracking"  # in the output folder
# Names of report_to -> modules of which one must be there; where the name is not the module's
_MODULES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "azure_ml": ("azureml",),
    "flyte": ("flytekit",),
    "kubeflow": (),
}


def prepare(config: Config) -> None:
    """Raises UserError for a tracker that is unknown or whose package the image lacks."""
    args = config.training_args
    for name in args.report_to:
        check(name)
    if args.report_to:
        job = config.run.job
        args.run_name = args.run_name or f"{job.namespace}/{job.name}-r{job.run}"
        for variable, value in places(os.path.join(config.run.outputPath, FOLDER), os.environ).items():
            os.environ.setdefault(variable, value)


def check(name: str) -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    if name not in INTEGRATION_TO_CALLBACK:
        raise UserError(
            f"spec.training.reportTo: there is no tracker {name!r}.",
            cure=f"Set spec.training.reportTo to some of {', '.join(sorted(INTEGRATION_TO_CALLBACK))}.",
        )
    modules = _MODULES.get(name, (name,))
    if modules and not any(importlib.util.find_spec(module) for module in modules):
        raise UserError(
            f"spec.training.reportTo: the package {modules[0]} is not in this image.",
            cure=f"Remove {name} from spec.training.reportTo, or set spec.image to an image that has {modules[0]}.",
        )


def places(folder: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Variable -> value that makes each tracker write below `folder`. W&B needs no network without a key."""
    found = {
        "TENSORBOARD_LOGGING_DIR": os.path.join(folder, "tensorboard"),
        "WANDB_DIR": folder,
        "WANDB_FINISH_TIMEOUT": "600",  # s; W&B would wait for its server for ever, and keep the GPUs
        "MLFLOW_TRACKING_URI": f"file:{os.path.join(folder, 'mlruns')}",
        "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 wants a database otherwise, and SQLite wants more than NFS has
        "TRACKIO_DIR": os.path.join(folder, "trackio"),
    }
    if not environment.get("WANDB_API_KEY"):
        found["WANDB_MODE"] = "offline"
    return found


def finish(exit_code: int) -> None:
    """End the tracked runs as `exit_code` says. Never raises; may wait for a tracker's server.

    Trackers hold records in memory and write them when the interpreter ends; a worker that fails leaves without that.
    """
    for module, end in _ENDS.items():
        if module not in sys.modules:
            continue
        try:
            end(sys.modules[module], exit_code)
        except Exception as error:  # what happened before it is what the user has to know
            print(f"[alignment] {module} could not end its run: {error}", file=sys.stderr)


def _end_mlflow(mlflow: Any, exit_code: int) -> None:
    mlflow.end_run("FINISHED" if exit_code == 0 else "KILLED" if exit_code == EX_TEMPFAIL else "FAILED")


def _end_trackio(trackio: Any, _: int) -> None:
    if trackio.context_vars.current_run.get() is not None:
        trackio.finish()


_ENDS: dict[str, Callable[[Any, int], None]] = {
    "wandb": lambda wandb, exit_code: wandb.finish(exit_code=exit_code),
    "mlflow": _end_mlflow,
    "trackio": _end_trackio,
}
