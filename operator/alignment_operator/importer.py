"""`import`: a TRL or alignment-handbook recipe, or a `trl METHOD` command line -> an AlignmentJob.

Names are translated by the generated table. Names that today's TRL no longer has are translated where they have a
successor, and named with the reason where they have none; nothing is dropped in silence.
"""

import argparse
import re
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from alignment_operator import commandline, formervalues, handbook
from alignment_operator.api import trl
from alignment_operator.api.constants import API_VERSION, KIND
from alignment_operator.api.rules.model import FOUR_BIT_FIELDS, LORA_FIELDS
from alignment_operator.api.schema import Section
from alignment_operator.api.spec import Dataset, PolicyModel, Spec
from alignment_operator.api.validation import problems
from alignment_operator.cures import with_cure
from alignment_operator.formernames import GONE, RENAMED
from alignment_operator.manifest import ManifestProblem, read

Json = dict[str, Any]

METHODS: dict[str, type[Section]] = {
    "dpo": trl.DPO,
    "sft": trl.SFT,
    "orpo": trl.ORPO,
    "cpo": trl.CPO,
    "kto": trl.KTO,
    "reward": trl.Reward,
}

USAGE = """%(prog)s [--name NAME] [--method METHOD] RECIPE
       %(prog)s [--name NAME] trl METHOD --field value ..."""
LAUNCHER = (
    "distributed_type: this is a configuration of accelerate, not a recipe: write spec.nodes, spec.gpusPerNode and "
    "spec.training.fsdp or spec.training.deepspeed into the AlignmentJob of the recipe"
)
LORA = [trl.SNAKE[name] for name in LORA_FIELDS]
FOUR_BIT = [trl.SNAKE[name] for name in FOUR_BIT_FIELDS]


@dataclass
class Imported:
    """A spec under construction, and what a person should know about it."""

    spec: Json
    notes: list[str] = field(default_factory=list)

    def put(self, section: str, name: str, value: Any) -> None:
        """Set spec.SECTION.NAME."""
        self.spec.setdefault(section, {})[name] = value


class NotImported(Exception):
    """A recipe that no AlignmentJob can be made from; the message names the field and the cure."""


def imported(recipe: Json, method: str | None = None) -> Imported:
    """Return the spec of a recipe. Raises NotImported if the method cannot be told, or a name is unknown."""
    if "apiVersion" in recipe:
        raise NotImported("apiVersion: this is a manifest already: `python -m alignment_operator render -f` it")
    if "distributed_type" in recipe:
        raise NotImported(LAUNCHER)
    recipe = {key: value for key, value in recipe.items() if value is not None}
    method = method or guess_method(recipe)
    result = Imported({"model": {}, "dataset": {}, "training": {}, method: {}})
    recipe = handbook.translated(_renamed(recipe, result), result.notes)
    recipe = formervalues.translated(recipe, method, result.notes)
    _upload(recipe, result)
    _without_switch(recipe, result, LORA, "use_peft")
    _without_switch(recipe, result, FOUR_BIT, "load_in_4bit")
    on_cpu = any([recipe.pop("use_cpu", False), recipe.pop("no_cuda", False)])
    unknown = [key for key, value in recipe.items() if not _place(key, value, result, method)]
    if unknown:
        raise NotImported("\n".join(_unknown(key, method) for key in unknown))
    result.spec = {key: value for key, value in result.spec.items() if value or key in ("model", "dataset", method)}
    result.spec |= {"gpusPerNode": 0} if on_cpu else {}
    _complete(result)
    return result


def _complete(result: Imported) -> None:
    """What a recipe has no word for."""
    result.put("output", "volume", {"persistentVolumeClaim": {"claimName": "output"}})
    result.notes.append("spec.output.volume: name your claim")
    if str(result.spec["model"].get("attnImplementation")).startswith("flash_attention"):
        result.notes.append("spec.model.attnImplementation: the trainer's image has no flash-attn: sdpa, or spec.image")


def guess_method(recipe: Json) -> str:
    """Return the one method whose own fields the recipe uses. Raises NotImported if several or none fit."""
    names = {name: set(section.model_fields) for name, section in METHODS.items()}
    shared = {field for field in recipe if sum(field in fields for fields in names.values()) > 1}
    fitting = [name for name, fields in names.items() if set(recipe) & (fields - shared)]
    if len(fitting) == 1:
        return fitting[0]
    raise NotImported(f"the method cannot be told from the recipe or its path: add --method {{{','.join(METHODS)}}}")


def method_in(path: str) -> str | None:
    """Return the one method that a file's folder or name speaks of (`zephyr-7b-beta/dpo/config_qlora.yaml`)."""
    words = {word for step in Path(path).parts[-2:] for word in re.split(r"[^a-z]+", step.lower())}
    named = [method for method in METHODS if method in words]
    return named[0] if len(named) == 1 else None


def _renamed(recipe: Json, result: Imported) -> Json:
    renamed: Json = {}
    for key, value in recipe.items():
        name = RENAMED.get(key, key)
        if name != key and (name in recipe or name in renamed):
            result.notes.append(f"{key}: left out; the recipe has {name} too, which is its name today")
            continue
        if name != key:
            result.notes.append(f"{key}: now {name}")
        renamed[name] = value
    return renamed


def _upload(recipe: Json, result: Imported) -> None:
    """TRL completes a repository without owner with the owner of its token; nobody has logged in here."""
    if not recipe.pop("push_to_hub", False):
        return
    repository = recipe.pop("hub_model_id", None) or "NAME"
    if "/" not in repository:
        repository = f"OWNER/{repository}"
        result.notes.append("spec.output.push.repository: name its owner")
    private = {"private": recipe.pop("hub_private_repo")} if "hub_private_repo" in recipe else {}
    result.put("output", "push", {"repository": repository, "secretName": "hub-token"} | private)
    result.notes.append("push_to_hub: now output.push; name the Secret of your hub token (key token)")


def _without_switch(recipe: Json, result: Imported, names: list[str], switch: str) -> None:
    """TRL ignores these without their switch, and the API refuses them: leave them out, and say so."""
    if recipe.get(switch):
        return
    for name in [name for name in names if recipe.pop(name, None) is not None]:
        result.notes.append(f"{name}: left out; without {switch}: true it has no effect")


def _place(name: str, value: Any, result: Imported, method: str) -> bool:
    """Put one field where it belongs, or note why it is left out; False if nobody knows it."""
    if name in GONE and not (name == "deepspeed" and str(value).lstrip().startswith("{")) and not _has(method, name):
        result.notes.append(f"{name}: left out; {GONE[name]}")
    elif name in trl.OPERATOR_OWNED:
        result.notes.append(f"{name}: left out ({trl.OPERATOR_OWNED[name]})")
    else:
        section = _section(name, method)
        if section is None:
            return False
        key = trl.CAMEL.get(name) or (PolicyModel.model_fields[name].alias or name)
        result.put(section, key, _value(name, value))
    return True


def _has(method: str, name: str) -> bool:
    return name in METHODS[method].model_fields


def _section(name: str, method: str) -> str | None:
    places: list[tuple[str, type[Section]]] = [
        ("model", PolicyModel),
        ("training", trl.Training),
        (method, METHODS[method]),
        ("dataset", Dataset),
    ]
    return next((section for section, model in places if name in model.model_fields), None)


def _value(name: str, value: Any) -> Any:
    if name == "datasets":
        return [{trl.CAMEL.get(key, key): item for key, item in part.items() if item is not None} for part in value]
    return value


def _unknown(name: str, method: str) -> str:
    owners = [other for other in METHODS if _has(other, name)]
    if owners:
        return f"{name}: not a field of {method} but of {', '.join(owners)}: remove it, or give --method"
    near = get_close_matches(name, [*trl.CAMEL, *GONE, *RENAMED], n=1)
    return f"{name}: not a field of TRL {trl.TRL_VERSION}: {f'did you mean {near[0]}?' if near else 'remove it'}"


def manifest(name: str, result: Imported) -> Json:
    """Return the AlignmentJob."""
    order = [field.alias or key for key, field in Spec.model_fields.items()]
    ordered = {key: result.spec[key] for key in order if key in result.spec}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": ordered}


def main(argv: list[str]) -> int:
    """Print the AlignmentJob; what changed on the way goes to standard error. Exit code 1 if it cannot be made."""
    parser = argparse.ArgumentParser("alignment_operator import", usage=USAGE, description=__doc__)
    parser.add_argument(
        "recipe", nargs="?", help="recipe.yaml of TRL or of the alignment-handbook; - reads standard input"
    )
    parser.add_argument("--method", choices=METHODS, help="if neither the recipe nor its path tells")
    parser.add_argument("--name", default="imported", help="name of the AlignmentJob")
    options = parser.parse_args(argv[: _command_at(argv)])
    words = argv[_command_at(argv) :]
    if bool(options.recipe) == bool(words):
        parser.error("give one recipe, or a command line that begins with `trl METHOD`")
    try:
        result = _of_command(words) if words else _of_file(options.recipe, options.method)
    except (ManifestProblem, NotImported, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    made = manifest(options.name, result)
    refused = [f"refused as it stands: {with_cure(problem, made)}" for problem in problems(made)]
    for note in result.notes + refused:
        print(f"# {note}", file=sys.stderr)
    print(yaml.safe_dump(made, sort_keys=False, width=120, allow_unicode=True), end="")
    return 0


def _command_at(argv: list[str]) -> int:
    """Where `trl METHOD` begins; the end if nowhere."""
    return next((at for at, (one, other) in enumerate(pairwise(argv)) if one == "trl" and other in METHODS), len(argv))


def _of_file(path: str, method: str | None) -> Imported:
    return imported(_recipe(path), method or method_in(path))


def _of_command(words: list[str]) -> Imported:
    command = commandline.parsed(words, _recipe)
    result = imported(command.recipe, command.method)
    result.spec |= command.launch
    result.notes = command.notes + result.notes
    return result


def _recipe(path: str) -> Json:
    documents = read(sys.stdin.read() if path == "-" else Path(path).read_text())
    if len(documents) != 1:
        raise ManifestProblem(f"a recipe is one YAML document, {path} has {len(documents)}")
    return documents[0]
