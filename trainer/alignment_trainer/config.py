"""recipe.yaml, read and checked into TRL's own dataclasses; with run.yaml (run_config.py) all that a run is told.

The recipe is pure TRL and is parsed by TRL's parser. What TRL lets pass is refused here: a key that no dataclass has
(TRL ignores it) and a value of the wrong type (argparse converts only strings). Numbers such as 5e-7, which YAML 1.1
takes for text, are numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from . import ladder, zero
from .exits import UserError
from .methods import METHODS, Method, MethodConfig
from .run_config import RunConfig, load_run_config, read_mapping

if typing.TYPE_CHECKING:
    from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments


@dataclass
class Config:
    """Everything that one run is told: the parsed recipe and run.yaml."""

    script_args: ScriptArguments
    training_args: MethodConfig
    model_args: ModelConfig
    mixture_args: DatasetMixtureConfig
    run: RunConfig
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)  # as it was given
    withheld: dict[str, str] = dataclasses.field(default_factory=dict)  # optimization -> why it stays off (memory)

    @property
    def method(self) -> Method:
        return METHODS[self.run.method]

    @property
    def needs_hub(self) -> bool:
        """Whether a model or dataset is a name on the hub and no local path, or the result is uploaded."""
        own = self.run.referenceModel.model.get("model_name_or_path")
        models = (self.model_args.model_name_or_path, self.run.adapterNameOrPath, own)
        datasets = (self.script_args.dataset_name, *(part.path for part in self.mixture_args.datasets))
        local = (os.path.exists(os.path.expanduser(name)) for name in (*models, *datasets) if name)
        return self.run.push is not None or not all(local)


def load_config(recipe_path: str | Path, run_config_path: str | Path) -> Config:
    """Read both files. Raises UserError naming the field; imports torch and TRL (seconds)."""
    run, recipe = load_run_config(run_config_path), read_mapping(recipe_path)
    return Config(*parse_recipe({**recipe, **ladder.current()}, run), run=run, recipe=recipe)


def parse_recipe(recipe: dict[str, Any], run: RunConfig) -> tuple[Any, Any, Any, Any]:
    """Recipe (TRL's names) -> ScriptArguments, the method's config, ModelConfig, DatasetMixtureConfig."""
    from trl import TrlParser

    dataclass_types = recipe_dataclasses(METHODS[run.method])
    recipe = _with_deepspeed(_with_operator_owned(recipe, run), run)
    for key, value in recipe.items():
        _check_value(key, value, dataclass_types, run.method)

    class RecipeParser(TrlParser):
        def error(self, message: str) -> typing.NoReturn:  # argparse would exit with 2, which says nothing to a Job
            raise UserError(f"The recipe cannot be read: {message}.", cure="Correct the field that the message names.")

    parser = RecipeParser(dataclass_types)
    parser.set_defaults_with_config(**recipe)
    try:
        parsed = parser.parse_args_into_dataclasses(args=[])
    except (ValueError, TypeError, NotImplementedError) as error:  # the dataclasses' own checks
        raise UserError(f"TRL refuses the recipe: {error}", cure="Change the fields that the message names.") from error
    return _keep_target_list(parsed, recipe)


def recipe_dataclasses(method: Method) -> tuple[Any, ...]:
    """The dataclasses whose fields make up a recipe, in the order of TRL's scripts."""
    from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments

    return ScriptArguments, method.config_class(), ModelConfig, DatasetMixtureConfig


def _with_operator_owned(recipe: dict[str, Any], run: RunConfig) -> dict[str, Any]:
    """Fill what follows from run.yaml and refuse a recipe that says otherwise."""
    if recipe.get("output_dir", run.outputPath) != run.outputPath:
        raise UserError(
            f"The recipe's output_dir {recipe['output_dir']!r} is not the run's outputPath {run.outputPath!r}.",
            cure="Leave output_dir out of the recipe.",
        )
    owned: dict[str, Any] = {"output_dir": run.outputPath}
    if run.device == "cpu":
        owned["use_cpu"] = True
    if run.referenceModel.strategy == "Precomputed":
        owned["precompute_ref_log_probs"] = True
    if run.method == "reward":
        owned["lora_task_type"] = recipe.get(
            "lora_task_type", "SEQ_CLS"
        )  # CAUSAL_LM would leave the new head untrained
    return {**recipe, **owned}


def _with_deepspeed(recipe: dict[str, Any], run: RunConfig) -> dict[str, Any]:
    """DeepSpeed's configuration as a mapping with what it leaves out; its processes have met."""
    if not recipe.get("deepspeed"):
        return recipe
    zero.check_installed()
    trains_adapter = bool(recipe.get("use_peft")) or run.adapterNameOrPath is not None
    settings = zero.complete(zero.read(recipe["deepspeed"]), trains_adapter)
    zero.join(run.device)
    return {**recipe, "deepspeed": settings}


def _keep_target_list(parsed: tuple, recipe: dict[str, Any]) -> tuple:
    """ModelConfig unwraps a list of one module into a string, which PEFT reads as a regular expression for the whole
    name: `[q_proj]` would match nothing. `[all-linear]` means the keyword all the same."""
    targets = recipe.get("lora_target_modules")
    if isinstance(targets, list) and len(targets) == 1 and targets != ["all-linear"]:
        parsed[2].lora_target_modules = list(targets)
    return parsed


def _check_value(key: str, value: Any, dataclass_types: tuple[Any, ...], method: str) -> None:
    owner = next((cls for cls in dataclass_types if key in cls.__dataclass_fields__), None)
    if owner is None:
        raise UserError(f"The recipe has an unknown key `{key}`.", cure=_suggestion(key, dataclass_types))
    _check_type(key, value, typing.get_type_hints(owner)[key], method)
    choices = owner.__dataclass_fields__[key].metadata.get("choices")
    if choices and value is not None and value not in choices:
        raise UserError(
            f"{spec_path(key, method)}: {value!r} is not one of {', '.join(map(str, choices))}.",
            cure=f"Choose one of the values listed for {spec_path(key, method)}.",
        )


def _check_type(key: str, value: Any, hint: Any, method: str) -> None:
    adapter = TypeAdapter(hint)
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        with contextlib.suppress(ValidationError):
            adapter.validate_python([value])  # TRL takes `all-linear` where its type says a list of strings
            return
        raise UserError(
            f"{spec_path(key, method)}: {value!r} is not valid: {error.errors()[0]['msg']}.",
            cure=f"Give {spec_path(key, method)} a value of type {_readable(hint)}.",
        ) from error


def _suggestion(key: str, dataclass_types: tuple[Any, ...]) -> str:
    if key == "env":
        return "Set environment variables in spec.podTemplate."
    known = [field.name for cls in dataclass_types for field in dataclasses.fields(cls)]
    close = difflib.get_close_matches(key, known, n=1)
    return (
        f"Did you mean `{close[0]}`?" if close else "Remove it; the fields are those of TRL's config for this method."
    )


def _readable(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else re.sub(r"(\w+\.)+", "", str(hint))


def spec_path(key: str, method: str) -> str:
    """Where the user wrote a recipe key: `attn_implementation` -> `spec.model.attnImplementation`."""
    first, *rest = key.split("_")
    return f"spec.{_section(key, method)}.{first + ''.join(part[:1].upper() + part[1:] for part in rest)}"


def _section(key: str, method: str) -> str:
    from transformers import TrainingArguments
    from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments

    if key in ModelConfig.__dataclass_fields__ or key == "trust_remote_code":
        return "model"
    if key in ScriptArguments.__dataclass_fields__ or key in DatasetMixtureConfig.__dataclass_fields__:
        return "dataset"
    return "training" if key in TrainingArguments.__dataclass_fields__ else method
