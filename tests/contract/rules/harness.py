"""Runs a spec's settings through the pinned TRL itself, the way TRL's own scripts do (trl/scripts/dpo.py), on a CPU."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment_operator.api import trl as api
from tests.tiny import tiny_model, tiny_preferences

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

Json = dict[str, Any]
KINDS = {"kto": "unpaired", "sft": "language_modeling"}


@dataclass(frozen=True)
class World:
    """Folders that the names of a spec stand for: a tiny model, another one, an adapter, datasets."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "World":
        """Write the models and datasets."""
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        tiny_model(folder / "tiny")
        tiny_model(folder / "other", seed=1)
        base = AutoModelForCausalLM.from_pretrained(folder / "tiny")
        get_peft_model(base, LoraConfig(r=4, task_type="CAUSAL_LM")).save_pretrained(folder / "adapter")
        for kind in ("preference", "unpaired", "language_modeling"):
            (folder / kind).mkdir()
            tiny_preferences(folder / kind / "train.jsonl", 8, kind)
            tiny_preferences(folder / kind / "test.jsonl", 4, kind, seed=1)
        return cls(folder)

    def path(self, name: str | None) -> str | None:
        """The folder of a model's name."""
        return None if name is None else str(self.folder / name)


def snake(section: Json | None) -> Json:
    """TRL's names and values for a section of a spec: -1 for maxLength is TRL's None."""
    result = {api.SNAKE[key]: value for key, value in (section or {}).items() if key in api.SNAKE}
    if result.get("max_length") == -1:
        result["max_length"] = None
    return result


def method_of(spec: Json) -> str:
    """The method of a spec (of the first of several)."""
    return next(name for name in ("dpo", "sft", "orpo", "cpo", "kto", "reward") if name in spec)


def classes(method: str) -> tuple[type, type]:
    """TRL's config and trainer class of a method."""
    import trl
    from trl.experimental import cpo, orpo

    module = {"orpo": orpo, "cpo": cpo}.get(method, trl)
    name = {"reward": "Reward"}.get(method, method.upper())
    return getattr(module, f"{name}Config"), getattr(module, f"{name}Trainer")


def model_config(spec: Json, world: World) -> Any:
    """TRL's ModelConfig of spec.model."""
    from trl import ModelConfig

    settings = snake(spec["model"])
    if "reward" in spec and "lora_task_type" not in settings:
        settings["lora_task_type"] = "SEQ_CLS"
    return ModelConfig(**{**settings, "model_name_or_path": world.path(settings.get("model_name_or_path"))})


def training_config(spec: Json, output: Path) -> Any:
    """The method's config, as TRL's parser would make it."""
    method = method_of(spec)
    settings = {**snake(spec.get("training")), **snake(spec[method])}
    settings.setdefault("report_to", "none")
    # always on the CPU: what a spec says about GPUs, nodes and processes is the launcher's business
    return classes(method)[0](output_dir=str(output), use_cpu=True, disable_tqdm=True, **settings)


def dataset(spec: Json, world: World) -> Any:
    """What TRL's script loads: one dataset, or a mixture."""
    import datasets
    from trl import get_dataset
    from trl.scripts.utils import DatasetMixtureConfig

    datasets.disable_progress_bars()
    datasets.disable_caching()
    folder = str(world.folder / KINDS.get(method_of(spec), "preference"))
    section = snake(spec["dataset"])
    if section.get("datasets"):
        parts = [{**part, "path": folder} if "path" in part else part for part in section["datasets"]]
        mixture = {key: section[key] for key in ("streaming", "test_split_size") if key in section}
        return get_dataset(DatasetMixtureConfig(datasets=parts, **mixture))
    if not section.get("dataset_name"):
        raise ValueError("Either `datasets` or `dataset_name` must be provided.")
    return datasets.load_dataset(folder, streaming=section.get("dataset_streaming", False))


def reference_model(spec: Json, world: World) -> Any:
    """The own reference model of a spec, or None."""
    from trl import ModelConfig, get_quantization_config
    from trl.trainer.utils import create_model_from_path

    section = spec.get("referenceModel", {}).get("model")
    if section is None:
        return None
    config = ModelConfig(**snake(section))
    kwargs = {"dtype": config.dtype, "quantization_config": get_quantization_config(config)}
    return create_model_from_path(world.path(config.model_name_or_path), **kwargs)


def trainer(spec: Json, world: World, output: Path) -> Any:
    """TRL's trainer for a spec, ready to train. Raises what TRL raises."""
    from trl import get_peft_config, get_quantization_config

    model_args, args, data = model_config(spec, world), training_config(spec, output), dataset(spec, world)
    section = spec["dataset"]
    arguments = {
        "args": args,
        "train_dataset": data[section.get("datasetTrainSplit", "train")],
        "eval_dataset": data[section.get("datasetTestSplit", "test")] if args.eval_strategy != "no" else None,
        "peft_config": get_peft_config(model_args),
    }
    quantization = get_quantization_config(model_args)
    method = method_of(spec)
    adapter = spec["model"].get("adapterNameOrPath")
    if method in ("orpo", "cpo") or adapter:
        arguments["model"] = _loaded(model_args, quantization, world.path(adapter))
        arguments |= {"processing_class": _tokenizer(model_args)} if method in ("orpo", "cpo") else {}
    else:
        arguments["model"] = model_args.model_name_or_path
        arguments["quantization_config"] = quantization
        init = {"dtype": model_args.dtype, "attn_implementation": model_args.attn_implementation}
        args.model_init_kwargs = {**init, **(args.model_init_kwargs or {})}
    if method in ("dpo", "kto"):
        arguments["ref_model"] = reference_model(spec, world)
    return classes(method)[1](**arguments)


def _loaded(model_args: Any, quantization: Any, adapter: str | None) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path, quantization_config=quantization)
    return PeftModel.from_pretrained(model, adapter, is_trainable=True) if adapter else model


def _tokenizer(model_args: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_args.model_name_or_path)


def run(spec: Json, world: World, output: Path) -> Any:
    """Train; return the trainer. Raises what TRL raises."""
    built = trainer(spec, world, output)
    built.train()
    return built
