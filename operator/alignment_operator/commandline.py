"""A `trl METHOD --field value ...` command line -> the recipe that `trl METHOD --config` would take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alignment_operator.manifest import ManifestProblem, scalar

Json = dict[str, Any]

# accelerate's flags -> the AlignmentJob's own fields
LAUNCH = {"num_machines": "nodes", "num_processes": "processes"}


@dataclass
class Command:
    """What the command line says.

    Attributes:
        method: dpo, sft, ...
        recipe: TRL's fields, those of `--config` included.
        launch: the AlignmentJob's own fields (nodes, gpusPerNode).
        notes: what a person should know.
    """

    method: str
    recipe: Json
    launch: Json = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def parsed(words: list[str], read_config: Callable[[str], Json]) -> Command:
    """Return what `words` (from `trl` on) ask for; a flag counts before the file that --config names.

    Raises ManifestProblem for words that are no flag and no value.
    """
    method, flags = words[1], _flags(words[2:])
    config = flags.pop("config", None)
    command = Command(method, (read_config(config) if config else {}) | flags)
    _take_launch(command)
    return command


def _flags(words: list[str]) -> Json:
    """`--name=value`, `--name value`, `--name value value` (a list), `--name` (true), `--no_name` (false)."""
    flags: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            current = flags.setdefault(name.replace("-", "_"), [])
            current += [value] if given else []
        elif flags:
            current.append(word)
        else:
            raise ManifestProblem(f"{word}: after the method come flags: --name value")
    return dict(_named(name, values) for name, values in flags.items())


def _named(name: str, values: list[str]) -> tuple[str, Any]:
    if not values:
        return (name[3:], False) if name.startswith("no_") else (name, True)
    read = [_read(value) for value in values]
    return name, read[0] if len(read) == 1 else read


def _read(text: str) -> Any:
    """Numbers and booleans as in a recipe; dictionaries are JSON, as TRL's own parser wants them."""
    try:
        return json.loads(text) if text.startswith(("{", "[")) else scalar(text)
    except ValueError:
        return text


def _take_launch(command: Command) -> None:
    """accelerate counts all processes, an AlignmentJob those of a node, one for each GPU."""
    given = {name: command.recipe.pop(flag) for flag, name in LAUNCH.items() if flag in command.recipe}
    nodes = given.get("nodes", 1)
    if nodes > 1:
        command.launch["nodes"] = nodes
    if "processes" in given:
        command.launch["gpusPerNode"] = max(1, given["processes"] // nodes)
    if configuration := command.recipe.pop("accelerate_config", None):
        command.notes.append(
            f"accelerate_config {configuration}: left out; write spec.nodes, spec.gpusPerNode, and how to shard into "
            "spec.training.fsdp or spec.training.deepspeed"
        )
