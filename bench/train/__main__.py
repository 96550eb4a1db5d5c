"""`python -m bench.train`: our trainer and `trl METHOD --config`, the same recipe, alternating, in fresh processes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.cluster.layout import cache

from . import material, measure, table, workloads
from .random_model import SHAPES
from .table import Results
from .workloads import VARIANTS, Variant

QUICK = {"workloads": ["lora"], "batches": [2], "variants": [table.STOCK, workloads.OURS], "runs": 1, "steps": 3}


def main() -> int:
    given = arguments()
    report: dict[str, Any] = {"machine": measure.processor(), "versions": measure.versions(), "results": []}
    say(f"{report['machine']}; {', '.join(f'{name} {version}' for name, version in report['versions'].items())}")
    for title, files in cells(given):
        variants = [VARIANTS[name] for name in given.variants if VARIANTS[name].suits(files[1]["method"])]
        results = compare(title, files, variants, given.runs)
        say(f"\n### {title}\n\n{table.speed(results)}\n\n{table.phases(results)}\n")
        runs = {name: [dataclasses.asdict(run) for run in of_one] for name, of_one in results.items()}
        report["results"].append({"title": title, "recipe": files[0], "runs": runs})
        if given.json:
            given.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def cells(given: argparse.Namespace) -> Iterator[tuple[str, tuple[dict[str, Any], dict[str, Any]]]]:
    """Each (title, recipe and run.yaml) to be measured."""
    folder = cache() / "bench-train"
    path = material.model(folder)
    name = path.name
    if given.shape:
        path, name = material.shaped_model(given.shape, path, folder), f"random {given.shape}"
    for workload in given.workloads:
        method = workloads.WORKLOADS[workload].method
        for batch in given.batches:
            output = Path("unset")  # measure.py sets one for each run
            recipe = workloads.recipe(
                workload, path, material.data(folder, method), output, batch, given.steps, cuda=given.cuda
            )
            title = f"{name}, {workload}, batch {batch}, {given.steps} steps, {given.runs} runs"
            yield title, (recipe, workloads.run_config(method, output, cuda=given.cuda))


def compare(title: str, files: tuple[dict[str, Any], dict[str, Any]], variants: list[Variant], rounds: int) -> Results:
    """`rounds` times each variant, one after the other: what slows the machine down slows all of a round."""
    results: Results = {variant.name: [] for variant in variants}
    for number in range(1, rounds + 1):
        for variant in variants:
            run = measure.measure(variant, *files)
            results[variant.name].append(run)
            rate = f"{run.samples_per_second:.3f} samples/s" if run.samples_per_second else "one step"
            say(f"[{title}] round {number}: {variant.name}: {rate}, first step at {run.first_step_seconds:.1f} s")
    return results


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of three steps of stock and ours: a smoke test")
    parser.add_argument("--workloads", nargs="+", choices=list(workloads.WORKLOADS), default=workloads.MAIN)
    parser.add_argument("--batches", nargs="+", type=int, default=[2, 4, 8], metavar="PAIRS")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--runs", type=int, default=5, help="of each variant; medians are reported (default: 5)")
    parser.add_argument("--steps", type=int, default=6, help="1 measures the time to the first step alone (default: 6)")
    parser.add_argument("--cuda", action="store_true", help="on the GPU")
    parser.add_argument("--shape", choices=list(SHAPES), help="a random model of this size in place of SmolLM2-135M")
    parser.add_argument("--json", type=Path, help="write every run's figures there")
    given = parser.parse_args()
    if given.quick:
        vars(given).update(QUICK)
    if table.STOCK not in given.variants:
        parser.error(f"--variants needs {table.STOCK}: every figure is a ratio to it")
    return given


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
