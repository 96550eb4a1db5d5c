"""`python -m alignment_trainer estimate recipe.yaml --gpu 80GiB`: the memory of a run as a table, without a GPU."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from ..config import Config, parse_recipe, recipe_dataclasses
from ..exits import TrainerError, UserError
from ..methods import METHODS
from ..run_config import JobReference, RunConfig, load_run_config, read_mapping
from . import check, device
from .estimate import Estimate, estimate
from .settings import workload_of
from .workload import Workload

CUDA_CONTEXT = round(0.75 * 2**30)  # what the driver and its libraries take before the first tensor: 0.5 to 1 GiB
_UNITS = {"": 1, "GB": 10**9, "G": 10**9, "GI": 2**30, "GIB": 2**30, "MB": 10**6, "M": 10**6, "MI": 2**20, "MIB": 2**20}
_MACHINE = ("tf32", "fsdp", "fsdp_config", "deepspeed")  # TRL would ask this machine for them


def main(arguments: list[str]) -> int:
    """Print the table; returns 0 if the run fits, 80 if not, or the code of what is wrong with the files."""
    options = _parser().parse_args(arguments)
    _quiet()
    try:
        workload = workload_of(read_config(options.recipe, options.run, options.method, options.gpu))
        workload = dataclasses.replace(workload, shared_tokens=options.prompt_tokens)
        budget = _budget(options.gpu)
    except TrainerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    expected = estimate(workload)
    fits = expected.with_reserve <= budget
    print("\n".join(table(workload, expected, budget)))
    print(f"fits: {'yes' if fits else 'no'}")
    if not fits:
        print(check.cure(workload, budget))
    return 0 if fits else 80


def read_config(recipe_path: str, run_path: str | None, method: str | None, gpu: str | None) -> Config:
    """The two files, or the recipe alone, parsed as on a machine without a GPU. Raises UserError."""
    recipe = read_recipe(recipe_path)
    run = load_run_config(run_path) if run_path else _one_process(recipe, method or infer_method(recipe), gpu)
    asked = {name: recipe.pop(name) for name in _MACHINE if name in recipe}
    config = Config(*parse_recipe(recipe, run.model_copy(update={"device": "cpu"})), run=run)
    for name, value in asked.items():
        setattr(config.training_args, name, value)
    return config


def read_recipe(path: str) -> dict[str, Any]:
    """The recipe in a file that a person names. Raises UserError for a file that is none."""
    if not Path(path).is_file():
        raise UserError(f"There is no file {path}.", cure="Name a recipe.yaml.")
    recipe = read_mapping(path)
    if "apiVersion" in recipe:
        raise UserError(
            f"{path} is a manifest, not a recipe.",
            cure=f"`python -m alignment_operator render --recipe -f {path}` prints the recipe of an AlignmentJob.",
        )
    return recipe


def infer_method(recipe: dict[str, Any]) -> str:
    """The method whose configuration has every key of the recipe; dpo where several do. Raises UserError."""
    unknown = {name: recipe.keys() - _known(name) for name in sorted(METHODS, key=lambda name: name != "dpo")}
    nearest = min(unknown, key=lambda name: len(unknown[name]))
    if not unknown[nearest]:
        return nearest
    raise UserError(
        f"No method of TRL has all keys of this recipe; {nearest} lacks {', '.join(sorted(unknown[nearest]))}.",
        cure="Correct them, or name the --method. Older recipes: `python -m alignment_operator import`.",
    )


def _known(method: str) -> set[str]:
    return {field.name for cls in recipe_dataclasses(METHODS[method]) for field in dataclasses.fields(cls)}


def table(workload: Workload, expected: Estimate, budget: int) -> list[str]:
    """Lines of the parts, in GiB, with what each consists of."""
    notes = {
        "weights": f"{workload.model.parameters:,} parameters, {_format(workload)}",
        "adapter": f"{workload.adapter.parameters:,} parameters" if workload.adapter else "",
        "reference": _reference(workload),
        "optimizer": workload.optimizer,
        "activations": f"{workload.tokens:,} tokens{', checkpointed' if workload.checkpointing else ''}",
    }
    shown = {name: size for name, size in expected.parts.items() if size or notes.get(name)}
    lines = [f"{name:<12}{size / check.GIB:>9.2f} GiB  {notes.get(name, '')}" for name, size in shown.items()]
    return [
        *(line.rstrip() for line in lines),
        f"{'peak':<12}{expected.peak / check.GIB:>9.2f} GiB  {expected.moment}",
        f"{'with reserve':<12}{expected.with_reserve / check.GIB:>9.2f} GiB  fragmentation",
        f"{'available':<12}{budget / check.GIB:>9.2f} GiB",
    ]


def size_in_bytes(text: str) -> int:
    """80GiB, 80Gi, 80GB, 85899345920. Raises UserError."""
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise UserError(f"--gpu {text!r} is no amount of memory.", cure="Write it as 80GiB.")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def _quiet() -> None:
    """Leaves out what libraries say of kernels and names that a table of sizes does not use."""
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _budget(gpu: str | None) -> int:
    return size_in_bytes(gpu) - CUDA_CONTEXT if gpu else device.host_bytes() - check.PYTHON_BYTES


def _one_process(recipe: dict[str, Any], method: str, gpu: str | None) -> RunConfig:
    return RunConfig(
        contractVersion=1,
        method=method,  # pydantic checks it
        job=JobReference(
            namespace="default", name=Path(recipe.get("output_dir", "estimate")).name or "estimate", run=1
        ),
        outputPath=recipe.get("output_dir", "estimate"),
        device="gpu" if gpu else "cpu",
        nodes=1,
        processesPerNode=1,
    )


def _format(workload: Workload) -> str:
    weights = workload.weights
    return f"{weights.bits} bits" if weights.bits else f"{weights.dtype_bytes * 8} bits each"


def _reference(workload: Workload) -> str:
    if workload.reference is None:
        return "the policy's own weights" if workload.reference_pass else ""
    return "a second model" if workload.reference_pass else "only while precomputing"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alignment_trainer estimate",
        description="The memory that a recipe needs, from the headers of its model's files: nothing is loaded.",
    )
    parser.add_argument("recipe", help="recipe.yaml, TRL's fields")
    parser.add_argument("--run", help="run.yaml; without it: one process, no second model but TRL's own")
    parser.add_argument("--gpu", metavar="SIZE", help="memory of one GPU, such as 80GiB; without it: this machine's")
    parser.add_argument("--method", choices=list(METHODS), help="without it and run.yaml: read off the recipe's keys")
    shared = "tokens of the shortest prompt: a packed pair passes them once; without it: none"
    parser.add_argument("--prompt-tokens", metavar="N", type=int, default=0, help=shared)
    return parser
