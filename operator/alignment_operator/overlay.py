"""`spec.podTemplate` merged over the pod template that we make, as Kubernetes' strategic merge does.

Maps merge key by key, lists of named things by their merge key, other lists are replaced; null deletes. What a run
cannot do without is reserved: touching it is refused with the field's path and the field of ours that does it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from .api.constants import (
    CONTAINER,
    MANAGED_BY_LABEL,
    RESERVED_ENV_NAMES,
    RESERVED_ENV_PREFIXES,
    RESERVED_LABEL_PREFIXES,
    RESERVED_MOUNT_PATTERN,
    RESERVED_VOLUME_PREFIX,
)
from .api.podtemplate import RESERVED_CONTAINER_FIELDS, RESERVED_POD_FIELDS, PodTemplate
from .problems import SpecProblem

Json = dict[str, Any]

# patchMergeKey of k8s.io/api/core/v1 types.go; tolerations have none there (a patch replaces them), but losing the
# operator's cluster-wide defaults by adding one would be a surprise: equal ones are kept once.
MERGE_KEYS = {
    "volumes": "name",
    "initContainers": "name",
    "containers": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
UNIONS = {"tolerations", "envFrom"}

TRAINER_FIELDS = ("name", "env", "envFrom", "volumeMounts")
RESERVED_LABELS = (*RESERVED_LABEL_PREFIXES, MANAGED_BY_LABEL)
PATH = "spec.podTemplate"


def apply(template: Json, overlay: Mapping[str, Any] | None) -> Json:
    """Return `template` with the user's overlay merged in. Raises SpecProblem where it touches what is reserved."""
    if not overlay:
        return template
    _check_metadata(overlay.get("metadata") or {})
    _check_pod(overlay.get("spec") or {})
    return merge(template, overlay)


def digest(template: PodTemplate | None) -> str:
    """Of the podTemplate as the user wrote it: kept on the Job, to tell a later change."""
    written = template.model_dump_json(by_alias=True, exclude_none=True) if template else ""
    return hashlib.sha256(written.encode()).hexdigest()[:12]


def merge(base: Any, patch: Any, key: str = "") -> Any:
    """Strategic merge of JSON values; neither argument is changed."""
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        return _merge_maps(base, patch)
    if isinstance(base, list) and isinstance(patch, list):
        if key in UNIONS:
            return base + [item for item in patch if item not in base]
        if key in MERGE_KEYS:
            return _merge_lists(base, patch, MERGE_KEYS[key])
    return deepcopy(patch)


def _merge_maps(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    merged = dict(base)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value, name)
    return merged


def _merge_lists(base: list[Any], patch: list[Any], key: str) -> list[Any]:
    patches = {item.get(key): item for item in patch}
    merged = [merge(item, patches.pop(item.get(key))) if item.get(key) in patches else item for item in base]
    return merged + [deepcopy(item) for item in patch if item.get(key) in patches]


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    for name in metadata:
        if name not in ("labels", "annotations"):
            raise SpecProblem(f"{PATH}.metadata.{name}", "Only labels and annotations can be set; remove it.")
    for label in metadata.get("labels") or {}:
        if label.startswith(RESERVED_LABELS):
            raise SpecProblem(f"{PATH}.metadata.labels[{label}]", "This label is the operator's own; remove it.")


def _check_pod(spec: Mapping[str, Any]) -> None:
    for name, instead in RESERVED_POD_FIELDS.items():
        if name in spec:
            raise SpecProblem(f"{PATH}.spec.{name}", f"It is reserved ({instead}); remove it.")
    _check_lists(spec)
    for i, volume in enumerate(_items(spec, "volumes")):
        if volume.get("name", "").startswith(RESERVED_VOLUME_PREFIX):
            raise SpecProblem(
                f"{PATH}.spec.volumes[{i}].name",
                f"Names that start with {RESERVED_VOLUME_PREFIX} are the operator's own; choose another.",
            )
    for i, container in enumerate(_items(spec, "initContainers")):
        if container.get("name") == CONTAINER:
            raise SpecProblem(
                f"{PATH}.spec.initContainers[{i}].name", f"{CONTAINER} is the trainer's; choose another name."
            )
    for i, container in enumerate(_items(spec, "containers")):
        _check_container(f"{PATH}.spec.containers[{i}]", container)


def _check_lists(spec: Mapping[str, Any]) -> None:
    """The definition declares few of these: the API server takes the others as they come, and refuses the Job."""
    for name, value in spec.items():
        if value is None or name not in MERGE_KEYS.keys() | UNIONS:
            continue
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            form = f"[{{{MERGE_KEYS.get(name, 'key')}: ...}}]"
            raise SpecProblem(f"{PATH}.spec.{name}", f"It must be a list of objects: write {form}.")


def _check_container(path: str, container: Mapping[str, Any]) -> None:
    if container.get("name") != CONTAINER:
        raise SpecProblem(
            f"{path}.name",
            f"The only container is {CONTAINER}: another one would keep the pod running after the training. "
            "Put it under initContainers with restartPolicy: Always.",
        )
    for name in container:
        if name not in TRAINER_FIELDS:
            instead = RESERVED_CONTAINER_FIELDS.get(name, "only env, envFrom and volumeMounts can be set here")
            raise SpecProblem(f"{path}.{name}", f"It is reserved ({instead}); remove it.")
    for i, variable in enumerate(_items(container, "env")):
        if _is_reserved(variable.get("name", "")):
            raise SpecProblem(f"{path}.env[{i}].name", f"The operator sets {variable['name']} itself; remove it.")
    for i, mount in enumerate(_items(container, "volumeMounts")):
        if mount.get("name", "").startswith(RESERVED_VOLUME_PREFIX):
            raise SpecProblem(f"{path}.volumeMounts[{i}].name", "This volume is the operator's own; choose another.")
        if re.search(RESERVED_MOUNT_PATTERN, mount.get("mountPath", "")):
            raise SpecProblem(
                f"{path}.volumeMounts[{i}].mountPath",
                f"The operator mounts {mount['mountPath']} itself; choose another path.",
            )


def _is_reserved(variable: str) -> bool:
    """Everything else (HF_HOME, NCCL_*, ...) may be set."""
    return variable.startswith(RESERVED_ENV_PREFIXES) or variable in RESERVED_ENV_NAMES


def _items(obj: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return obj.get(name) or []
