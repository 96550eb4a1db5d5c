"""Fields and values that the pages name, in a sentence or in YAML, are those of the definition and the chart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator.api.crd import root_schema
from tests.unit.operator.pod_security import violations
from tests.unit.test_docs import PAGES, ROOT, found

YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"`(?:spec|status)(?:\.[A-Za-z]\w*)+")
GROUPS = "settings|rbac|metrics|networkPolicy|crds|admissionPolicies|trainer|image"
VALUE = re.compile(rf"`(?:{GROUPS})(?:\.[A-Za-z_]+)+\b(?!\()")
SCHEMA = root_schema()
VALUES = yaml.safe_load((ROOT / "charts/alignment-operator/values.yaml").read_text())
# Fields of Kueue's Workload and Job, and files, which look like ours
NOT_OURS = {"spec.active", "spec.queueName", "metrics.jsonl"}


def snippets(key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(page, document) of the YAML blocks that have this key at their top."""
    for page in PAGES:
        for text in YAML.findall(page.read_text()):
            document = yaml.safe_load(text)
            if isinstance(document, dict) and key in document:
                yield page, document


def paths(content: Any) -> Iterator[tuple[str, ...]]:
    """The keys to each leaf."""
    if not isinstance(content, dict) or not content:
        yield ()
        return
    for key, value in content.items():
        yield from ((key, *rest) for rest in paths(value))


def schema_has(steps: Sequence[str], schema: dict[str, Any]) -> bool:
    """Whether the definition has this field; below Kubernetes' own content anything goes."""
    for step in steps:
        while schema.get("type") == "array":
            schema = schema["items"]
        if schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema:
            return True
        if step not in schema.get("properties", {}):
            return False
        schema = schema["properties"][step]
    return True


def values_have(steps: Sequence[str]) -> bool:
    """Whether the chart has this value; what is null, empty or a list by default may hold anything."""
    content: Any = VALUES
    for step in steps:
        if not isinstance(content, dict) or not content:
            return True
        if step not in content:
            return False
        content = content[step]
    return True


@pytest.mark.parametrize(("page", "field"), [*found(FIELD)])
def test_every_field_that_is_named_exists(page: str, field: str) -> None:
    name = field.strip("`")
    assert name in NOT_OURS or schema_has(name.split("."), SCHEMA)


@pytest.mark.parametrize(("page", "value"), [*found(VALUE)])
def test_every_value_of_the_chart_that_is_named_exists(page: str, value: str) -> None:
    name = value.strip("`")
    assert name in NOT_OURS or values_have(name.split("."))


@pytest.mark.parametrize(("page", "document"), [*snippets("spec")], ids=lambda value: str(value)[-40:])
def test_every_field_in_a_piece_of_yaml_exists(page: Path, document: dict[str, Any]) -> None:
    spec = SCHEMA["properties"]["spec"]
    kind = document.get("kind", "AlignmentJob")
    if kind == "Pod":
        assert violations(document["spec"]) == []
    elif kind == "AlignmentJob":
        assert [steps for steps in paths(document["spec"]) if not schema_has(steps, spec)] == []


@pytest.mark.parametrize(("page", "document"), [*snippets("settings")], ids=lambda value: str(value)[-40:])
def test_every_value_in_a_piece_of_yaml_exists(page: Path, document: dict[str, Any]) -> None:
    assert [steps for steps in paths(document) if not values_have(steps)] == []
