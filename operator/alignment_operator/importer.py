"""`import`: a TRL or alignment-handbook recipe -> an AlignmentJob.

Names are translated by the generated table. Names that today's TRL no longer has are translated where they have a
successor, and named with the reason where they have none; nothing is dropped in silence.
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alignment_operator import handbook
from alignment_operator.api import trl
from alignment_operator.api.constants import API_VERSION, KIND
from alignment_operator.api.rules.model import FOUR_BIT_FIELDS, LORA_FIELDS
from alignment_operator.api.schema import Section
from alignment_operator.api.spec import Dataset, PolicyModel, Spec
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
    recipe = {key: value for key, value in recipe.items() if value is not None}
    method = method or guess_method(recipe)
    result = Imported({"model": {}, "dataset": {}, "training": {}, method: {}})
    recipe = handbook.translated(_renamed(recipe, result), result.notes)
    _special(recipe, result, method)
    unknown = [key for key, value in recipe.items() if not _place(key, value, result, method)]
    if unknown:
        raise NotImported("\n".join(_unknown(key, method) for key in unknown))
    result.spec = {key: value for key, value in result.spec.items() if value or key in ("model", "dataset", method)}
    result.put("output", "volume", {"persistentVolumeClaim": {"claimName": "models"}})
    result.notes.append("spec.output.volume: name your claim")
    return result


def guess_method(recipe: Json) -> str:
    """Return the one method whose own fields the recipe uses. Raises NotImported if several or none fit."""
    names = {name: set(section.model_fields) for name, section in METHODS.items()}
    shared = {field for field in recipe if sum(field in fields for fields in names.values()) > 1}
    fitting = [name for name, fields in names.items() if set(recipe) & (fields - shared)]
    if len(fitting) == 1:
        return fitting[0]
    raise NotImported(f"the method cannot be told from the recipe: add --method {{{','.join(METHODS)}}}")


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


def _special(recipe: Json, result: Imported, method: str) -> None:
    """Fields whose value, not only whose name, has changed. Each is taken out of the recipe."""
    _succeeded(recipe, result)
    _upload(recipe, result)
    if method == "dpo" and isinstance(recipe.get("loss_type"), str):
        recipe["loss_type"] = [recipe["loss_type"]]
    _lists(recipe)
    _without_switch(recipe, result, LORA, "use_peft")
    _without_switch(recipe, result, FOUR_BIT, "load_in_4bit")


def _succeeded(recipe: Json, result: Imported) -> None:
    """Fields that are values of another field today."""
    if "warmup_ratio" in recipe:
        # transformers 5: warmup_steps below 1 is a share of all steps
        recipe.setdefault("warmup_steps", recipe["warmup_ratio"])
        recipe.pop("warmup_ratio")
        result.notes.append("warmup_ratio: now warmupSteps (below 1 it is a share)")
    if recipe.pop("group_by_length", False):
        recipe["train_sampling_strategy"] = "group_by_length"
        result.notes.append("group_by_length: now trainSamplingStrategy")
    if recipe.pop("adafactor", False):
        recipe["optim"] = "adafactor"
    if recipe.pop("use_flash_attention_2", False):
        recipe["attn_implementation"] = "flash_attention_2"


def _upload(recipe: Json, result: Imported) -> None:
    """TRL completes a repository without owner with the owner of its token; nobody has logged in here."""
    if not recipe.pop("push_to_hub", False):
        return
    repository = recipe.pop("hub_model_id", None) or "NAME"
    if "/" not in repository:
        repository = f"OWNER/{repository}"
        result.notes.append("spec.output.push.repository: name its owner")
    result.put("output", "push", {"repository": repository, "secretName": "hub-token"})
    result.notes.append("push_to_hub: now output.push; name the Secret of your hub token (key token)")


def _without_switch(recipe: Json, result: Imported, names: list[str], switch: str) -> None:
    """TRL ignores these without their switch, and the API refuses them: leave them out, and say so."""
    if recipe.get(switch):
        return
    for name in [name for name in names if recipe.pop(name, None) is not None]:
        result.notes.append(f"{name}: left out; without {switch}: true it has no effect")


def _lists(recipe: Json) -> None:
    """TRL takes a string or a list; the API has lists only."""
    for name in ("report_to", "optim_target_modules", "debug", "lora_target_modules"):
        value = recipe.get(name)
        if isinstance(value, str):
            recipe[name] = value.split() if name == "debug" else [value]
    if isinstance(recipe.get("include_num_input_tokens_seen"), bool):
        recipe["include_num_input_tokens_seen"] = "all" if recipe["include_num_input_tokens_seen"] else "no"


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
    return f"{name}: not a field of TRL {trl.TRL_VERSION}: remove it, or correct its spelling"


def manifest(name: str, result: Imported) -> Json:
    """Return the AlignmentJob."""
    order = [field.alias or key for key, field in Spec.model_fields.items()]
    ordered = {key: result.spec[key] for key in order if key in result.spec}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": ordered}


def main(argv: list[str]) -> int:
    """Print the AlignmentJob; what changed on the way goes to standard error. Exit code 1 if it cannot be made."""
    parser = argparse.ArgumentParser("alignment_operator import", description=__doc__)
    parser.add_argument("recipe", help="recipe.yaml of TRL or of the alignment-handbook; - reads standard input")
    parser.add_argument("--method", choices=METHODS, help="if the recipe does not tell")
    parser.add_argument("--name", default="imported", help="name of the AlignmentJob")
    options = parser.parse_args(argv)
    try:
        text = sys.stdin.read() if options.recipe == "-" else Path(options.recipe).read_text()
        result = imported(_only(read(text)), options.method)
    except (ManifestProblem, NotImported, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    for note in result.notes:
        print(f"# {note}", file=sys.stderr)
    print(yaml.safe_dump(manifest(options.name, result), sort_keys=False, width=120, allow_unicode=True), end="")
    return 0


def _only(documents: list[Json]) -> Json:
    if len(documents) != 1:
        raise ManifestProblem(f"a recipe is one YAML document, this file has {len(documents)}")
    return documents[0]
