"""Specs of AlignmentJobs: a sound one with a few fields set to anything, drawn from the CRD's own schema.

One in ten fields gets JSON of any kind. Fields of another method than the spec's own are rare, and podTemplate is
mostly made of Kubernetes' words: else nearly every spec would be refused for the same reason.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from alignment_operator.api.constants import Method
from alignment_operator.api.crd import root_schema
from alignment_operator.api.openapi import Schema
from tests.fuzz.schema_values import ANY_JSON, TEXT, fitting
from tests.rule_cases import BASE, Json

Path = tuple[str, ...]
MOST_FIELDS = 4


@cache
def paths() -> dict[Path, Schema]:
    """Every field of the spec, with its schema."""
    return dict(_walk(root_schema()["properties"]["spec"], ()))


def _walk(schema: Schema, at: Path) -> Iterator[tuple[Path, Schema]]:
    for name, part in schema.get("properties", {}).items():
        yield (*at, name), part
        yield from _walk(part, (*at, name))


@st.composite
def specs(draw: st.DrawFn) -> Json:
    """One spec."""
    method = draw(st.sampled_from([*Method]))
    spec: Json = copy.deepcopy({key: value for key, value in BASE.items() if key != "dpo"}) | {method.value: {}}
    for path, schema in draw(st.lists(st.sampled_from(_fields_for(method)), max_size=MOST_FIELDS)):
        _put(spec, path, draw(st.one_of(*[fitting(schema)] * 9, ANY_JSON)))
    if draw(st.integers(0, 3)) == 0:
        spec["podTemplate"] = draw(pod_templates())
    return spec


@cache
def _fields_for(method: Method) -> list[tuple[Path, Schema]]:
    others = {other.value for other in Method} - {method.value}
    fitting_fields = [(path, schema) for path, schema in paths().items() if path[0] not in others]
    foreign = [(path, schema) for path, schema in paths().items() if path[0] in others and len(path) == 2]
    return fitting_fields + foreign[:: max(1, len(foreign) // 10)]


def _put(spec: Json, path: Path, value: Any) -> None:
    """Set the field, where its parents are objects."""
    for name in path[:-1]:
        spec = spec.setdefault(name, {})
        if not isinstance(spec, dict):
            return
    spec[path[-1]] = value


def pod_templates() -> st.SearchStrategy[Json]:
    """Overlays in Kubernetes' words, right and wrong."""
    return st.fixed_dictionaries({}, optional={"metadata": _METADATA, "spec": _POD})


_NAMES = st.one_of(st.sampled_from(("trainer", "data", "alignment-config", "a.b", "X")), TEXT.filter(bool))
_MAP = st.dictionaries(st.sampled_from(("a", "example.com/b", "alignment-operator.io/job", "?")), TEXT, max_size=2)
_METADATA = st.fixed_dictionaries({}, optional={"labels": _MAP, "annotations": _MAP})
_ENV = st.fixed_dictionaries({"name": _NAMES}, optional={"value": TEXT, "valueFrom": ANY_JSON})
_MOUNT = st.fixed_dictionaries(
    {"name": _NAMES}, optional={"mountPath": st.sampled_from(("/data", "/output", "/etc/alignment/x", "data", "/"))}
)
_SOURCES: Any = {
    "emptyDir": st.just({}),
    "persistentVolumeClaim": st.fixed_dictionaries({"claimName": TEXT}),
    "configMap": st.fixed_dictionaries({}, optional={"name": TEXT, "defaultMode": st.integers(-1, 1000)}),
    "image": ANY_JSON,
}
_VOLUME = st.fixed_dictionaries({"name": _NAMES}, optional=_SOURCES)
_CONTAINER = st.fixed_dictionaries(
    {"name": _NAMES},
    optional={"image": TEXT, "env": st.lists(_ENV, max_size=2), "volumeMounts": st.lists(_MOUNT, max_size=2)},
)
_OVERLAY = st.fixed_dictionaries(
    {"name": st.sampled_from(("trainer", "trainer", "other"))},
    optional={
        "env": st.lists(_ENV, max_size=2),
        "envFrom": st.lists(st.dictionaries(TEXT, ANY_JSON, max_size=2), max_size=2),
        "volumeMounts": st.lists(_MOUNT, max_size=2),
        "command": st.lists(TEXT, max_size=2),
    },
)
_TOLERATION = st.fixed_dictionaries(
    {}, optional={"key": TEXT, "operator": st.sampled_from(("Exists", "Equal", "In")), "effect": TEXT, "value": TEXT}
)
_POD = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(_OVERLAY, max_size=2),
        "initContainers": st.lists(_CONTAINER, max_size=2),
        "volumes": st.lists(_VOLUME, max_size=2),
        "tolerations": st.one_of(st.lists(_TOLERATION, max_size=2), ANY_JSON),
        "nodeSelector": st.one_of(_MAP, ANY_JSON),
        "affinity": ANY_JSON,
        "serviceAccountName": TEXT,
        "securityContext": ANY_JSON,
        "hostNetwork": ANY_JSON,
        "resourceClaims": st.one_of(st.lists(ANY_JSON, max_size=2), ANY_JSON),
        "imagePullSecrets": ANY_JSON,
        "topologySpreadConstraints": ANY_JSON,
        "restartPolicy": TEXT,
        "unheardOf": ANY_JSON,
    },
)
