"""run.yaml, and how both files of a run are read as YAML. Needs neither torch nor TRL: the launcher reads it too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .exits import UserError

CONTRACT_VERSION = 1
MethodName = Literal["dpo", "sft", "orpo", "cpo", "kto", "reward"]
Strategy = Literal["Auto", "SharedAdapter", "Resident", "Precomputed"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobReference(_Strict):
    """The AlignmentJob that this run belongs to."""

    namespace: str
    name: str
    run: int = Field(ge=1)
    uid: str | None = None


class ReferenceModel(_Strict):
    """How the frozen reference is had; `model` in TRL's ModelConfig names, what it leaves out is the policy's."""

    strategy: Strategy = "Auto"
    model: dict[str, Any] = {}


class Push(_Strict):
    repository: str
    private: bool = True


class Optimizations(_Strict):
    """What may be done faster than TRL does it, with equal losses; each is on where the model allows it."""

    completionHead: bool = True  # noqa: N815  the contract's own spelling, here and below
    packedPairs: bool = True  # noqa: N815
    skipAdapterCasts: bool = True  # noqa: N815
    fusedAdapterSum: bool = True  # noqa: N815
    selectiveCheckpointing: bool = True  # noqa: N815
    wideProducts: bool = True  # noqa: N815
    referenceCache: bool = True  # noqa: N815


class Health(_Strict):
    """When the metrics of a run mean that it learns no preference (health.py), and whether that ends it."""

    stopOnUnhealthy: bool = False  # noqa: N815
    windowSteps: int = Field(default=100, ge=10)  # noqa: N815  what must last so long to be a finding
    minMargin: float = Field(default=1e-4, ge=0)  # noqa: N815  reward margins below it are none
    chosenRewardDrop: float = Field(default=1.0, gt=0)  # noqa: N815  below its first value, with margins that rise
    chanceBand: float = Field(default=0.05, ge=0, lt=0.5)  # noqa: N815  accuracies so close to 0.5 are chance


class RunConfig(_Strict):
    """run.yaml (docs/contract/run.schema.json): what a run needs and TRL has no words for."""

    contractVersion: Literal[1]  # noqa: N815
    method: MethodName
    job: JobReference
    outputPath: str  # noqa: N815
    device: Literal["cpu", "gpu"]
    nodes: int = Field(ge=1)
    processesPerNode: int = Field(ge=1)  # noqa: N815
    masterAddress: str | None = None  # noqa: N815
    masterPort: int = 29500  # noqa: N815
    adapterNameOrPath: str | None = None  # noqa: N815
    referenceModel: ReferenceModel = ReferenceModel()  # noqa: N815
    merge: bool = False
    push: Push | None = None
    memoryCheck: bool = True  # noqa: N815
    outOfMemoryLadder: bool = False  # noqa: N815
    remoteCode: tuple[str, ...] | None = None  # noqa: N815  REPOSITORY@COMMIT; None: trust_remote_code decides alone
    optimizations: Optimizations = Optimizations()
    health: Health = Health()
    hangTimeoutSeconds: int | None = Field(default=None, ge=1)  # noqa: N815
    terminationGracePeriodSeconds: int = 600  # noqa: N815
    progressIntervalSeconds: float = 5  # noqa: N815
    maxAttemptsWithoutProgress: int = 5  # noqa: N815


def load_run_config(path: str | Path) -> RunConfig:
    """Read run.yaml; needs neither torch nor TRL. Raises UserError."""
    content = read_mapping(path)
    version = content.get("contractVersion")
    if version != CONTRACT_VERSION:
        raise UserError(
            f"run.yaml has contractVersion {version!r}; this trainer speaks version {CONTRACT_VERSION}.",
            cure="Use the trainer image that belongs to the operator's version (spec.image).",
        )
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"run.yaml: {where}: {first['msg']}.", cure="Correct this field of run.yaml.") from error


class _Yaml12FloatLoader(yaml.SafeLoader):
    """SafeLoader that reads 5e-7 as a number, as kubectl does; YAML 1.1 wants a dot and a signed exponent."""


_Yaml12FloatLoader.yaml_implicit_resolvers = {
    char: list(resolvers) for char, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12FloatLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The YAML mapping in a file, its numbers read as kubectl reads them. Raises UserError naming the file."""
    name = Path(path).name
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Yaml12FloatLoader)
    except FileNotFoundError as error:
        raise UserError(f"{name} is missing at {path}.", cure="Mount the run's ConfigMap there.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{name} is no YAML: {error}", cure=f"Correct {name}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold a mapping, not {type(content).__name__}.", cure=f"Correct {name}.")
    return content
