"""`render`: what an AlignmentJob would become, without a cluster.

The manifest is read as kubectl reads it and judged by the API server's own schema and rules, in its words.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from alignment_operator import allowlists, jobs, networkpolicy, recipe
from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.validation import defaulted, problems
from alignment_operator.manifest import ManifestProblem, read
from alignment_operator.problems import SpecProblem
from alignment_operator.settings import Settings, SettingsProblem, load

# The operator puts its certificate authority here; offline there is none.
CA_PLACEHOLDER = "# the operator's certificate authority\n"


class Refused(Exception):
    """A manifest that the API server would refuse; the message is what it would say, one problem a line."""


def objects(manifest: dict[str, Any], settings: Settings, run: int = 1) -> list[dict[str, Any]]:
    """Return the ConfigMap, Service (with several nodes), NetworkPolicy (if set) and Job of a run. Raises Refused."""
    job = accepted(manifest)
    if forbidden := allowlists.problem(job.spec, settings):
        raise Refused(str(forbidden))
    made = _recipe(job, settings, run)
    try:
        children = [
            jobs.config_map(job, made, run, settings, CA_PLACEHOLDER),
            jobs.service(job, run, settings),
            networkpolicy.network_policy(job, run, settings),
            jobs.job(job, made, run, settings),
        ]
    except SpecProblem as problem:
        raise Refused(str(problem)) from problem
    return [child for child in children if child]


def recipe_text(manifest: dict[str, Any], settings: Settings) -> str:
    """Return recipe.yaml, as `trl METHOD --config` takes it. Raises Refused."""
    return _recipe(accepted(manifest), settings, 1).recipe_yaml


def accepted(manifest: dict[str, Any]) -> AlignmentJob:
    """Return the manifest as a job. Raises Refused with every problem."""
    found = problems(manifest)
    if found:
        name = (manifest.get("metadata") or {}).get("name", "")
        lines = "\n".join(f"  {problem}" for problem in found)
        raise Refused(f'AlignmentJob.alignment-operator.io "{name}" is invalid:\n{lines}')
    return AlignmentJob.model_validate(defaulted(manifest))


def _recipe(job: AlignmentJob, settings: Settings, run: int) -> recipe.Recipe:
    try:
        # Offline there is no other job to look at: `fromJob` cannot be rendered, and the problem says so.
        return recipe.build(job, run, settings, upstream=None)
    except SpecProblem as problem:
        raise Refused(str(problem)) from problem


def main(argv: list[str]) -> int:
    """Print the manifests, or recipe.yaml alone; the exit code is 1 if a manifest is refused."""
    parser = argparse.ArgumentParser("alignment_operator render", description=__doc__)
    parser.add_argument("-f", "--filename", required=True, help="manifest; - reads standard input")
    parser.add_argument("--recipe", action="store_true", help="print recipe.yaml alone")
    parser.add_argument("--settings", help="the operator's settings file, for its defaults of image, cache, ...")
    options = parser.parse_args(argv)
    try:
        print(_rendered(options.filename, options.recipe, load(options.settings)), end="")
    except (ManifestProblem, Refused, SettingsProblem, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _rendered(filename: str, recipe_only: bool, settings: Settings) -> str:
    text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
    manifests = read(text)
    if not manifests:
        raise ManifestProblem(f"{filename} holds no manifest")
    if recipe_only:
        return "---\n".join(recipe_text(manifest, settings) for manifest in manifests)
    made = [child for manifest in manifests for child in objects(manifest, settings)]
    return yaml.dump_all(made, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that recipe.yaml can be read inside its ConfigMap."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
