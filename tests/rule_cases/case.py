"""How a case of the table is written, and the spec that all of them patch."""

import copy
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

BASE: Json = {
    "model": {"modelNameOrPath": "tiny"},
    "dataset": {"datasetName": "pairs"},
    "training": {"maxSteps": 1, "perDeviceTrainBatchSize": 2},
    "dpo": {},
    "gpusPerNode": 0,
    "output": {"volume": {"persistentVolumeClaim": {"claimName": "models"}}},
}


@dataclass(frozen=True)
class Case:
    """Bad and good are patches over BASE."""

    rule: str
    bad: Json
    good: Json
    raises: str = ""
    shows: str = ""
    kubernetes: str = ""


def spec(patch: Json) -> Json:
    """Return BASE with the patch merged in."""
    return merge(copy.deepcopy(BASE), patch)


def merge(base: Json, patch: Json) -> Json:
    """Merge a patch into base, as RFC 7386 says: None removes a key."""
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = copy.deepcopy(value)
    return base


def method(name: str, **settings: Any) -> Json:
    """Patch: this method instead of DPO."""
    return {"dpo": None, name: settings} if name != "dpo" else {"dpo": settings}


def model(**settings: Any) -> Json:
    """Patch of spec.model."""
    return {"model": settings}


def training(**settings: Any) -> Json:
    """Patch of spec.training."""
    return {"training": settings}


def dataset(**settings: Any) -> Json:
    """Patch of spec.dataset."""
    return {"dataset": settings}


def mixture(*datasets: Json, **settings: Any) -> Json:
    """Patch: a mixture instead of one dataset."""
    return {"dataset": {"datasetName": None, "datasets": list(datasets), **settings}}


def container(**fields: Any) -> Json:
    """Patch: an overlay of the container `trainer`."""
    return {"podTemplate": {"spec": {"containers": [{"name": "trainer", **fields}]}}}


LORA = {"usePeft": True}
OWN = {"modelNameOrPath": "other"}
EVAL = {"evalStrategy": "steps", "evalSteps": 1}
GPU = {"gpusPerNode": 1}
TWO = [{"path": "pairs", "fraction": 0.5}, {"path": "pairs", "fraction": 0.5}]
