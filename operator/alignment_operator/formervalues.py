"""Values of recipes that TRL reads differently today, or that the API writes differently."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# TRL takes a string or a list; the API has lists only.
LISTS = ("report_to", "optim_target_modules", "debug", "lora_target_modules")
# Unquoted `no` is false in YAML.
SWITCHED_OFF = ("eval_strategy", "save_strategy", "logging_strategy")


def translated(recipe: Json, method: str, notes: list[str]) -> Json:
    """Return the recipe with today's values. What a person should know is added to `notes`."""
    recipe = dict(recipe)
    _succeeded(recipe, notes)
    _without_effect(recipe, method, notes)
    _types(recipe, method)
    return recipe


def _succeeded(recipe: Json, notes: list[str]) -> None:
    """Fields that are values of another field today, and values with another name."""
    if "warmup_ratio" in recipe:
        # transformers 5: warmup_steps below 1 is a share of all steps
        recipe.setdefault("warmup_steps", recipe.pop("warmup_ratio"))
        notes.append("warmup_ratio: now warmupSteps (below 1 it is a share)")
    if recipe.pop("group_by_length", False):
        recipe["train_sampling_strategy"] = "group_by_length"
        notes.append("group_by_length: now trainSamplingStrategy")
    if recipe.pop("adafactor", False):
        recipe["optim"] = "adafactor"
    if recipe.pop("use_flash_attention_2", False):
        recipe["attn_implementation"] = "flash_attention_2"
    if recipe.get("packing_strategy") == "ffd":
        recipe["packing_strategy"] = "bfd"
        notes.append("packing_strategy: ffd is bfd today")


def _without_effect(recipe: Json, method: str, notes: list[str]) -> None:
    """What today's TRL accepts and does not do; the API refuses it."""
    if method == "dpo" and recipe.pop("padding_free", False):
        notes.append("padding_free: left out; TRL accepts it for DPO and pads all the same")
    kwargs = recipe.get("dataset_kwargs") or {}
    for key in [key for key in kwargs if key != "skip_prepare_dataset"]:
        notes.append(f"dataset_kwargs.{key}: left out; TRL reads skip_prepare_dataset only")
    kept = {key: value for key, value in kwargs.items() if key == "skip_prepare_dataset"}
    recipe.pop("dataset_kwargs", None)
    recipe |= {"dataset_kwargs": kept} if kept else {}


def _types(recipe: Json, method: str) -> None:
    names = (*LISTS, "loss_type") if method == "dpo" else LISTS
    for name in names:
        value = recipe.get(name)
        if isinstance(value, str):
            recipe[name] = value.split() if name == "debug" else [value]
    for name in SWITCHED_OFF:
        if recipe.get(name) is False:
            recipe[name] = "no"
    if isinstance(recipe.get("include_num_input_tokens_seen"), bool):
        recipe["include_num_input_tokens_seen"] = "all" if recipe["include_num_input_tokens_seen"] else "no"
