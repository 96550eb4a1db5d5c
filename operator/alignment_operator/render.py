"""`render`: what an AlignmentJob would become, without a cluster.

The manifest is read as kubectl reads it and judged by the API server's own schema and rules, in its words.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from alignment_operator import allowlists, jobs, networkpolicy, recipe
from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.constants import GROUP
from alignment_operator.api.validation import defaulted, problems
from alignment_operator.cures import with_cure
from alignment_operator.manifest import ManifestProblem, read
from alignment_operator.observed import project_upstream
from alignment_operator.problems import SpecProblem
from alignment_operator.settings import Settings, SettingsProblem, load
from alignment_operator.views import UpstreamView

Json = dict[str, Any]

# The operator puts its certificate authority here; offline there is none.
CA_PLACEHOLDER = "# the operator's certificate authority\n"
FIRST_RUN = 1


class Refused(Exception):
    """A manifest that the API server would refuse; the message is what it would say, one problem a line."""


def objects(manifest: Json, settings: Settings, beside: Sequence[Json] = ()) -> list[Json]:
    """Return the ConfigMap, Service (with several nodes), NetworkPolicy (if set) and Job of the first run.

    `beside`: other manifests, one of which may be the job that `spec.model.fromJob` names. Raises Refused.
    """
    job = accepted(manifest)
    if forbidden := allowlists.problem(job.spec, settings):
        raise Refused(str(forbidden))
    try:
        upstream = _upstream(job, beside, settings)
        made = recipe.build(job, FIRST_RUN, settings, upstream)
        children = [
            jobs.config_map(job, made, FIRST_RUN, settings, CA_PLACEHOLDER),
            jobs.service(job, FIRST_RUN, settings),
            networkpolicy.network_policy(job, FIRST_RUN, settings),
            jobs.job(job, made, FIRST_RUN, settings, upstream),
        ]
    except SpecProblem as problem:
        raise Refused(str(problem)) from problem
    return [child for child in children if child]


def recipe_text(manifest: Json, settings: Settings, beside: Sequence[Json] = ()) -> str:
    """Return recipe.yaml, as `trl METHOD --config` takes it. Raises Refused."""
    job = accepted(manifest)
    try:
        return recipe.build(job, FIRST_RUN, settings, _upstream(job, beside, settings)).recipe_yaml
    except SpecProblem as problem:
        raise Refused(str(problem)) from problem


def accepted(manifest: Json) -> AlignmentJob:
    """Return the manifest as a job. Raises Refused with every problem."""
    found = problems(manifest)
    if found:
        name = (manifest.get("metadata") or {}).get("name", "")
        lines = "\n".join(f"  {with_cure(problem, manifest)}" for problem in found)
        raise Refused(f'AlignmentJob.alignment-operator.io "{name}" is invalid:\n{lines}')
    return AlignmentJob.model_validate(defaulted(manifest))


def _upstream(job: AlignmentJob, beside: Sequence[Json], settings: Settings) -> UpstreamView | None:
    """The job that `fromJob` names, as its first run will leave it. Raises SpecProblem when it is not beside."""
    name = job.spec.model.from_job
    if name is None:
        return None
    for manifest in beside:
        first = accepted(manifest)
        if (first.metadata.namespace, first.metadata.name) == (job.metadata.namespace, name):
            others = [other for other in beside if other is not manifest]  # two that name each other come to an end
            path = recipe.build(first, FIRST_RUN, settings, _upstream(first, others, settings)).output_path
            status = {"conditions": [{"type": "Complete", "status": "True"}], "run": FIRST_RUN, "outputPath": path}
            return project_upstream(name, {"spec": first.to_object()["spec"], "status": status})
    raise SpecProblem(
        "spec.model.fromJob",
        f"What AlignmentJob {name} leaves cannot be known without it: render both in one call, with -f for each.",
    )


def main(argv: list[str]) -> int:
    """Print the manifests, or recipe.yaml alone; the exit code is 1 if a manifest is refused."""
    parser = argparse.ArgumentParser("alignment_operator render", description=__doc__)
    files = "manifests, or folders of them; may be repeated, and - reads standard input; other kinds are passed over"
    parser.add_argument("-f", "--filename", required=True, action="append", metavar="FILE", help=files)
    parser.add_argument("--recipe", action="store_true", help="print recipe.yaml alone")
    settings = "the settings.yaml in the operator's ConfigMap, for its image, cache, allow-lists; default: none of them"
    parser.add_argument("--settings", metavar="FILE", help=settings)
    options = parser.parse_args(argv)
    try:
        print(_rendered(options.filename, options.recipe, load(options.settings)), end="")
    except (ManifestProblem, Refused, SettingsProblem, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _rendered(filenames: list[str], recipe_only: bool, settings: Settings) -> str:
    found = [manifest for filename in filenames for path in _files(filename) for manifest in _manifests(path)]
    manifests = [manifest for manifest in found if not _foreign(manifest)]
    if not manifests:
        raise ManifestProblem(f"{', '.join(filenames)}: no AlignmentJob is in it")
    if recipe_only:
        return "---\n".join(recipe_text(manifest, settings, manifests) for manifest in manifests)
    made = [child for manifest in manifests for child in objects(manifest, settings, manifests)]
    return yaml.dump_all(made, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _files(filename: str) -> list[str]:
    """The file itself, or, as for kubectl, the manifests of a folder."""
    folder = Path(filename)
    if filename == "-" or not folder.is_dir():
        return [filename]
    return sorted(str(path) for path in folder.iterdir() if path.suffix in (".yaml", ".yml", ".json"))


def _foreign(manifest: Json) -> bool:
    """Whether it is an object of another API (a claim, a Secret), as they stand beside jobs in one file."""
    group = str(manifest.get("apiVersion", "")).partition("/")[0]
    return "kind" in manifest and group not in ("", GROUP)


def _manifests(filename: str) -> list[Json]:
    try:
        found = read(sys.stdin.read() if filename == "-" else Path(filename).read_text())
    except ManifestProblem as problem:
        raise ManifestProblem(f"{filename}: {problem}") from problem
    if not found:
        raise ManifestProblem(f"{filename} holds no manifest")
    if any("model_name_or_path" in manifest for manifest in found):
        raise ManifestProblem(f"{filename} is a recipe of TRL: `python -m alignment_operator import {filename}` first")
    return found


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that recipe.yaml can be read inside its ConfigMap."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
