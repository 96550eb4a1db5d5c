"""Write `api/trl.py`: one pydantic model for each of TRL's configuration classes, from the installed TRL.

The only code of the project, beside the trainer, that imports TRL; it runs when TRL's pin changes (`make generate`).
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Collection, Iterator

from transformers import TrainingArguments
from trl import DPOConfig, KTOConfig, ModelConfig, RewardConfig, ScriptArguments, SFTConfig
from trl.experimental.cpo import CPOConfig
from trl.experimental.orpo import ORPOConfig
from trl.scripts.utils import DatasetConfig, DatasetMixtureConfig

from dev.generate import bounds

SECTIONS = {
    "Model": ModelConfig,
    "Dataset": ScriptArguments,
    "MixtureDataset": DatasetConfig,
    "Mixture": DatasetMixtureConfig,
    "Training": TrainingArguments,
    "DPO": DPOConfig,
    "SFT": SFTConfig,
    "ORPO": ORPOConfig,
    "CPO": CPOConfig,
    "KTO": KTOConfig,
    "Reward": RewardConfig,
}
METHOD_CONFIGS = {DPOConfig, SFTConfig, ORPOConfig, CPOConfig, KTOConfig, RewardConfig}

HEADER = '''"""GENERATED from TRL {trl} and transformers {transformers} by `make generate`. Do not edit.

One model per TRL configuration class. Every field is optional and unset by default, so that TRL's own defaults apply.
`CAMEL` holds the API's name of every TRL field; `SNAKE` is its inverse.
"""

# ruff: noqa: E501
from typing import Annotated, Literal

from pydantic import Field

from alignment_operator.api.maps import (
    AcceleratorConfig,
    CheckpointingKwargs,
    DatasetKwargs,
    FsdpConfig,
    LrSchedulerKwargs,
    ModelInitKwargs,
)
from alignment_operator.api.schema import IntOrString, Number, Section, Short

TRL_VERSION = "{trl}"
TRANSFORMERS_VERSION = "{transformers}"
'''


def camel(name: str) -> str:
    """Return the API's name of a TRL field: `load_in_4bit` -> `loadIn4bit`, `adam_beta1` -> `adamBeta1`."""
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), name)


def own_fields(config: type) -> Iterator[dataclasses.Field]:
    """Yield the fields that a spec's section shows: for a method, what it adds to TrainingArguments."""
    inherited = {f.name for f in dataclasses.fields(TrainingArguments)} if config in METHOD_CONFIGS else set()
    hidden = {*inherited, *bounds.OPERATOR_OWNED, *bounds.NOT_WRITABLE, *bounds.ON_MODEL}
    return (field for field in dataclasses.fields(config) if field.name not in hidden)


def plain_type(config: type, field: dataclasses.Field) -> str:
    """Return the field's type as one of bool, int, Number, str, list[...], or a name from `bounds.TYPES`."""
    if field.name in bounds.TYPES:
        return bounds.TYPES[field.name]
    annotation = typing.get_type_hints(config)[field.name]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        [annotation] = [a for a in typing.get_args(annotation) if a is not type(None)]
    if typing.get_origin(annotation) is list:
        [item] = typing.get_args(annotation)
        return f"list[{'MixtureDataset' if item is DatasetConfig else _scalar(item)}]"
    return _scalar(annotation)


def _scalar(annotation: type) -> str:
    return {bool: "bool", int: "int", float: "Number", str: "str"}[annotation]


def choices(config: type, field: dataclasses.Field) -> list[str]:
    """Return the values that the field takes, from our table or TRL's metadata; empty if any value goes."""
    known = bounds.CHOICES.get(f"{config.__name__}.{field.name}") or bounds.CHOICES.get(field.name)
    return list(known or field.metadata.get("choices") or [])


def _text_type(name: str) -> str:
    long = any(word in name for word in bounds.LONG_TEXT)
    length = bounds.TEXT_LENGTH.get(name, 1024 if long else bounds.DEFAULT_TEXT_LENGTH)
    return f"Annotated[str, Field(min_length=1, max_length={length})]"


def annotation(config: type, field: dataclasses.Field) -> str:
    """Return the annotation to write: the plain type with its choices and bounds."""
    kind, allowed = plain_type(config, field), choices(config, field)
    text = f"Literal[{', '.join(map(repr, allowed))}]" if allowed else _text_type(field.name)
    limits = ", ".join(f"{key}={value}" for key, value in bounds.BOUNDS.get(field.name, {}).items())
    if kind == "IntOrString":
        return kind
    if kind == "str":
        return text
    if kind.startswith("list["):
        length = bounds.LIST_LENGTH.get(field.name, bounds.DEFAULT_LIST_LENGTH)
        return f"Annotated[{kind.replace('str', text)}, Field(min_length=1, max_length={length})]"
    return f"Annotated[{kind}, Field({limits})]" if limits else kind


def help_text(config: type, field: dataclasses.Field) -> str:
    """Return TRL's help, from the metadata or else the class docstring, plus our note."""
    text = field.metadata.get("help") or _docstring_help(config, field.name)
    text = " ".join(text.split())
    return f"{text} {bounds.NOTES[field.name]}".strip() if field.name in bounds.NOTES else text


def _docstring_help(config: type, name: str) -> str:
    doc = inspect.getdoc(config) or ""
    match = re.search(rf"^ *{name} \(.*?\):\n((?:^ {{8,}}.*\n?)+)", doc, flags=re.M)
    return match.group(1) if match else ""


def model_source(name: str, config: type, only: Collection[str] = ()) -> str:
    """Return the source of one model; `only` names the fields that it has, if not all."""
    lines = [f"class {name}(Section):", f'    """TRL\'s {config.__name__}{", in part" if only else ""}."""', ""]
    for field in own_fields(config):
        if only and field.name not in only:
            continue
        extra = f", json_schema_extra={bounds.NULLABLE!r}" if field.name in bounds.NULL_HAS_A_MEANING else ""
        lines.append(
            f"    {field.name}: {annotation(config, field)} | None = Field("
            f"None, alias={camel(field.name)!r}, description={help_text(config, field)!r}{extra})"
        )
    return "\n".join(lines)


def source() -> str:
    """Return the whole text of `api/trl.py`, unformatted."""
    from importlib.metadata import version

    names = sorted({field.name for config in SECTIONS.values() for field in own_fields(config)})
    table = "\n".join(f"    {name!r}: {camel(name)!r}," for name in names)
    parts = [HEADER.format(trl=version("trl"), transformers=version("transformers"))]
    parts += [model_source(name, config) for name, config in SECTIONS.items()]
    parts.insert(2, model_source("ReferenceModelConfig", ModelConfig, bounds.REFERENCE_MODEL))
    parts += [f"CAMEL: dict[str, str] = {{\n{table}\n}}", "SNAKE: dict[str, str] = {v: k for k, v in CAMEL.items()}"]
    owned = "\n".join(f"    {k!r}: {v!r}," for k, v in bounds.OPERATOR_OWNED.items())
    parts.append(
        f"# TRL's fields that a spec has no words for, and what decides them.\nOPERATOR_OWNED = {{\n{owned}\n}}"
    )
    return "\n\n\n".join(parts) + "\n"
