"""Models + rules -> the CustomResourceDefinition."""

import argparse
import json
from functools import cache
from typing import Any

import yaml

from alignment_operator.api import constants, scope
from alignment_operator.api.openapi import Schema, structural
from alignment_operator.api.rules import CHANGE_RULES, RULES, Rule
from alignment_operator.api.rules.joined import joined
from alignment_operator.api.spec import Spec
from alignment_operator.api.status import NOT_OBSERVED, Status

# A DNS label that starts with a letter (children include a Service) and leaves room for `-rN`.
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAMES = {
    "kind": constants.KIND,
    "listKind": f"{constants.KIND}List",
    "plural": constants.PLURAL,
    "singular": constants.SINGULAR,
    "shortNames": [constants.SHORT_NAME],
    "categories": ["all", "alignment"],
}


def column(name: str, path: str, kind: str = "string", description: str = "", priority: int = 0) -> Schema:
    """Return one printer column; priority 1 shows with `-o wide` only."""
    result = {"name": name, "jsonPath": path, "type": kind, "description": description, "priority": priority}
    return {key: value for key, value in result.items() if value != "" and not (key == "priority" and value == 0)}


COLUMNS = [
    column("Method", ".status.method", description="DPO, SFT, ORPO, CPO, KTO or Reward"),
    column("Model", ".spec.model['modelNameOrPath','fromJob']", description="The policy before training, or its job"),
    column("Phase", ".status.phase"),
    column("Progress", ".status.progress.percentage", "integer", "Percent of all steps"),
    column("Loss", '.status.metrics[?(@.name=="loss")].value', description="Latest training loss"),
    column("Age", ".metadata.creationTimestamp", "date"),
    column("Step", ".status.progress.step", "integer", priority=1),
    column("Of", ".status.progress.totalSteps", "integer", "Steps in all", 1),
    column("ETA(s)", ".status.progress.estimatedRemainingSeconds", "integer", "Seconds left", 1),
    column("Margin", '.status.metrics[?(@.name=="rewards/margins")].value', description="Reward margin", priority=1),
    column("Run", ".status.run", "integer", priority=1),
    column("Attempt", ".status.progress.attempt", "integer", priority=1),
    column("Queue", ".spec.queueName", priority=1),
    column("Nodes", ".spec.nodes", "integer", priority=1),
    column("GPUs", ".spec.gpusPerNode", "integer", "GPUs of one node", 1),
    column("GPU-Seconds", ".status.usage.totalGpuSeconds", "integer", "Of all runs; of pods that have ended", 1),
    column("Cost", ".status.usage.totalCost", description="Of those GPU-seconds", priority=1),
    column("Failure", ".status.failure.class", priority=1),
    column("Output", ".status.outputPath", priority=1),
]


def validation(rule: Rule) -> Schema:
    """Return a rule as an entry of x-kubernetes-validations; its path is relative to where it stands."""
    path = {"fieldPath": "".join(f".{part}" for part in rule.path.split("."))} if rule.path else {}
    told = {"messageExpression": rule.told} if rule.told else {}
    return {"rule": rule.expression, "message": rule.message, **told, **path, "reason": rule.reason}


def root_schema() -> Schema:
    """Return the schema of the whole object, rules included."""
    spec = structural(Spec)
    for placed in scope.place(spec, joined(RULES)):
        node = scope.below(spec, placed.steps)
        node.setdefault("x-kubernetes-validations", []).append(validation(placed.local))
    name = {"type": "string", "maxLength": constants.MAX_NAME_LENGTH, "pattern": NAME_PATTERN}
    return {
        "type": "object",
        "description": "AlignmentJob aligns a language model with preferences: DPO and its relatives, run with TRL.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": spec,
            "status": {**structural(Status), "default": {"observedGeneration": NOT_OBSERVED}},
        },
        "x-kubernetes-validations": [validation(rule) for rule in joined(CHANGE_RULES)],
    }


@cache
def _crd_json() -> str:
    version = {
        "name": constants.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root_schema()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": COLUMNS,
    }
    return json.dumps(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": constants.CRD_NAME},
            "spec": {"group": constants.GROUP, "names": NAMES, "scope": "Namespaced", "versions": [version]},
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )


def crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition (a fresh copy)."""
    return json.loads(_crd_json())


def crd_yaml() -> str:
    """Return the CustomResourceDefinition as YAML, for the chart and for `python -m alignment_operator crd`."""
    return yaml.safe_dump(crd(), sort_keys=False, width=120, allow_unicode=True)


def main(argv: list[str]) -> int:
    """Print the CustomResourceDefinition; takes no arguments."""
    argparse.ArgumentParser("alignment_operator crd", description=__doc__).parse_args(argv)
    print(crd_yaml(), end="")
    return 0
