"""A run from its two files to a saved model, top to bottom."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from . import hub, remote_code, report, trackers, zero
from .attention import check_attention
from .config import Config, load_config
from .lifecycle import Lifecycle, NoLifecycle


def run(recipe_path: str | Path, run_config_path: str | Path, lifecycle: Lifecycle | None = None) -> dict[str, str]:
    """Run the recipe; returns the artifacts (kind -> path relative to the output folder).

    Raises exits.TrainerError where the user can do something about it, and whatever `lifecycle` raises to end it.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    lifecycle = lifecycle or NoLifecycle()
    lifecycle.phase("Loading")
    config = load_config(recipe_path, run_config_path)
    remote_code.restrict(config.run.remoteCode)
    check(config)
    if not lifecycle.already_trained():
        train(config, lifecycle)
        trackers.finish(0)  # merge and push may take long, and be stopped
    artifacts = finish(config, lifecycle)
    lifecycle.phase("Finished")
    lifecycle.finished(artifacts)
    return artifacts


def check(config: Config) -> None:
    """What can be refused without reading data or weights. Raises UserError."""
    from .quantization import check_quantization

    trackers.prepare(config)
    check_attention(config.model_args.attn_implementation, config.run.device)
    own_attention = config.run.referenceModel.model.get("attn_implementation")
    check_attention(own_attention, config.run.device, "spec.referenceModel.model.attnImplementation")
    check_quantization(config.model_args, config.model_args.use_peft or config.run.adapterNameOrPath is not None)
    if config.needs_hub:
        hub.check_certificate()


def train(config: Config, lifecycle: Lifecycle) -> None:
    """Data, models, trainer, resume, train, save."""
    from .data import load_datasets
    from .memory.check import check_memory

    zero.check(config.training_args)
    # Data first: it is cheap to check, and a wrong column should not cost the loading of a model
    train_dataset, eval_dataset = load_datasets(config)
    check_memory(config, train_dataset)

    trainer = build_trainer(config, lifecycle, train_dataset, eval_dataset)
    lifecycle.dataset_report(*rows_of(trainer, train_dataset))
    for callback in lifecycle.callbacks(trainer):
        trainer.add_callback(callback)

    lifecycle.phase("Training")
    trainer.train(resume_from_checkpoint=lifecycle.resume_from())
    lifecycle.check(trainer)

    lifecycle.phase("Saving")
    drop_reference_adapter(trainer.model)
    trainer.save_model(config.run.outputPath)
    report.record(config, trainer, train_dataset)
    lifecycle.trained(trainer)
    trainer.end()


def build_trainer(config: Config, lifecycle: Lifecycle, train_dataset: Any, eval_dataset: Any) -> Any:
    """TRL's trainer for the method, with the models loaded."""
    from transformers import set_seed

    from .models import get_processing_class

    training_args, method, adapter = config.training_args, config.method, config.run.adapterNameOrPath
    set_seed(training_args.seed)  # a new head (reward) is random
    processing_class = get_processing_class(config.model_args, training_args, method.name, adapter)
    policy = load_policy(config, processing_class)
    reference = load_reference(config, lifecycle, processing_class) if method.has_reference else {}

    training_args.model_init_kwargs = None  # get_model has heeded them; with a loaded model TRL wants none
    datasets = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
    trainer = method_trainer(config, model=policy, processing_class=processing_class, **datasets, **reference)
    if reference and training_args.precompute_ref_log_probs:
        trainer.ref_model = None  # its log-probabilities are columns of the dataset now; its memory is free again
    if config.script_args.ignore_bias_buffers:
        ignore_bias_buffers(trainer.model)
    return trainer


def method_trainer(config: Config, **arguments: Any) -> Any:
    """The method's trainer, made of the recipe and of what was loaded (`arguments`, in TRL's words)."""
    from trl import get_peft_config

    from .seeding import already_seeded

    trainer_class = config.method.trainer_class()
    peft_config = None if config.run.adapterNameOrPath else get_peft_config(config.model_args)
    settings = {"args": config.training_args, "peft_config": peft_config, "switches": config.run.optimizations}
    settings["withheld"] = config.withheld
    with already_seeded(trainer_class) if config.method.name == "reward" else nullcontext():
        return trainer_class(**settings, **arguments)


def load_policy(config: Config, processing_class: Any) -> Any:
    """The model to train: as it is, or with the trained adapter to go on from. TRL adds a new adapter itself."""
    from .models import get_adapted_model, get_model

    model = get_model(config.model_args, config.training_args)
    if adapter := config.run.adapterNameOrPath:
        return get_adapted_model(model, adapter, processing_class)
    return model


def load_reference(config: Config, lifecycle: Lifecycle, processing_class: Any) -> dict[str, Any]:
    """The trainer's arguments for the frozen reference (reference.py)."""
    from .reference import reference_arguments

    reference = reference_arguments(config, processing_class, lifecycle.precomputed)
    if config.training_args.precompute_ref_log_probs:
        lifecycle.phase("Precomputing")  # TRL does it while it builds the trainer
    return reference


def ignore_bias_buffers(model: Any) -> None:
    """As TRL's scripts: boolean buffers (GPT-2's causal masks) are none of DDP's business."""
    model._ddp_params_and_buffers_to_ignore = [
        name for name, buffer in model.named_buffers() if str(buffer.dtype) == "torch.bool"
    ]


def rows_of(trainer: Any, train_dataset: Any) -> tuple[int | None, int | None, int | None]:
    """(rows, of those dropped, of those cut short) of the train split; None where they cannot be counted."""
    if getattr(trainer, "rows", None) is None:
        return getattr(train_dataset, "num_rows", None), None, None
    return trainer.rows, trainer.dropped, getattr(trainer, "truncated", None)


def drop_reference_adapter(model: Any) -> None:
    """TRL keeps a frozen copy of a given adapter beside it under the name `ref`; it is no part of the result."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")


def finish(config: Config, lifecycle: Lifecycle) -> dict[str, str]:
    """Merge and push, on the main process, from the saved model: an attempt may have to do them alone."""
    from . import export

    artifacts = export.saved(config)
    if config.training_args.process_index != 0:
        return artifacts
    if config.run.merge and "adapter" in artifacts:
        lifecycle.phase("Merging")
        artifacts["merged"] = export.merge(config)
    report.make(config, artifacts)
    if config.run.push:
        lifecycle.phase("Pushing")
        artifacts["repository"] = export.push(config)
    return artifacts
