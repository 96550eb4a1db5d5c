"""DeepSpeed's ZeRO (Rajbhandari et al. 2020): its configuration as a run needs it, and what it makes of weights.

ZeRO-3 partitions each weight over the processes while `from_pretrained` reads it: what all of them load, all must load
together; a parameter has the shape (0,) where it lies, and its own in `ds_shape`.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .exits import UserError

_FIELD = "spec.training.deepspeed"
_GATHER = "stage3_gather_16bit_weights_on_model_save"
# Where its configuration is silent, DeepSpeed has values of its own; "auto" is transformers' word for the recipe's
_FROM_THE_RECIPE: dict[str, Any] = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": "auto"},
}


def check_installed() -> None:
    """transformers wants the package as soon as the field is set, and names only the package. Raises UserError."""
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            f"{_FIELD} is set, but this image has no DeepSpeed.",
            cure="Build the trainer image with `--build-arg TRAINER_EXTRAS=deepspeed` and name it in spec.image, or "
            "shard with spec.training.fsdp.",
        )


def read(given: Any) -> dict[str, Any]:
    """DeepSpeed's configuration from a mapping, its JSON text, or the path of its file. Raises UserError."""
    try:
        if isinstance(given, str):
            given = json.loads(given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8"))
        return dict(given)
    except (OSError, ValueError, TypeError) as error:
        cure = f"Give {_FIELD} the JSON text of a DeepSpeed configuration."
        raise UserError(f"{_FIELD} cannot be read: {error}", cure) from error


def complete(config: Mapping[str, Any], trains_adapter: bool) -> dict[str, Any]:
    """`config` and, where it is silent, what the recipe says and what saving a model takes.

    Raises UserError where ZeRO-3 would end without a model: one that saves no whole weights.
    """
    zero = dict(config.get("zero_optimization") or {})
    if zero.get("stage") == 3:
        if zero.get(_GATHER) is False and not trains_adapter:
            raise UserError(
                f"{_FIELD}: with {_GATHER}: false no process has whole weights to save.",
                cure=f"Leave {_GATHER} out of {_FIELD}: it is true then.",
            )
        zero[_GATHER] = zero.get(_GATHER) is not False
    return {**_FROM_THE_RECIPE, **config, **({"zero_optimization": zero} if zero else {})}


def check(training_args: Any) -> None:
    """Refuse numbers that contradict the recipe's, before anything is loaded. Raises UserError."""
    config = getattr(training_args, "hf_deepspeed_config", None)
    if config is not None and config.mismatches:
        raise UserError(
            f"{_FIELD} contradicts the recipe: {'; '.join(line.removeprefix('- ') for line in config.mismatches)}.",
            cure=f"Leave these out of {_FIELD}, or write auto: the recipe decides then.",
        )


def join(device: str) -> None:
    """Let DeepSpeed know the run's processes before it loads anything; without GPUs transformers does not.

    device: cpu or gpu, as in run.yaml.
    """
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    stand_alone()
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)


def stand_alone() -> None:
    """torchrun's variables for a run of one process: DeepSpeed makes a group of one too, and without them asks MPI."""
    if "LOCAL_RANK" not in os.environ:
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # any: nobody else comes


def partitions_weights(training_args: Any) -> bool:
    """Whether what is loaded now is partitioned over all processes (ZeRO-3)."""
    plugin = getattr(training_args, "deepspeed_plugin", None)
    return plugin is not None and plugin.zero_stage == 3


def true_shape(parameter: Any) -> tuple[int, ...]:
    """The shape of the whole parameter, wherever its parts are."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


@contextmanager
def whole_models(training_args: Any) -> Iterator[None]:
    """While it lasts, `from_pretrained` loads whole models, in this process alone."""
    from transformers.integrations import deepspeed

    config = getattr(training_args, "hf_deepspeed_config", None)
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            deepspeed.set_hf_deepspeed_config(config)
