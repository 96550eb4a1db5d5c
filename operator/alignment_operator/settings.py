"""Settings of the operator, field by field: unit, default, and why that default.

Tuples and mappings hold Kubernetes JSON as it goes into pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

# A key that no field has is a typing error, and must not be ignored.
_CONFIG = with_config(ConfigDict(extra="forbid"))


@_CONFIG
@dataclass(frozen=True, slots=True)
class PodSettings:
    """Defaults of the pods that we make. A job's own fields and its podTemplate win."""

    image: str = "alignment-operator/trainer:0.1.0"
    """Trainer image of jobs without `spec.image`."""

    image_pull_policy: str | None = None
    """None: Kubernetes' own default, by tag."""

    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the job's namespace; each namespace must have them."""

    gpu_resource: str = "nvidia.com/gpu"
    """Extended resource that `gpusPerNode` counts, for jobs without `spec.gpuResource`."""

    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Added to every pod, before the podTemplate's."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Of every pod; the podTemplate's keys win."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    """`requests` and `limits` beside the GPUs, for jobs without `spec.resources`. A queue counts what is requested."""

    cache_volume: Mapping[str, Any] | None = None
    """Volume source at /cache for jobs without `spec.cache`. None: an emptyDir, and every pod downloads its model."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of every trainer: a hub mirror (HF_ENDPOINT), proxies."""

    hub_offline: bool = False
    """HF_HUB_OFFLINE=1: nothing is downloaded, the cache must hold every model and dataset."""

    run_as_user: int | None = 65532
    """UID and GID of the trainer; the image runs as any. None: the platform chooses one (OpenShift)."""

    fs_group: int | None = 65532
    """Group that owns the volumes, changed OnRootMismatch only. None: the platform chooses one (OpenShift)."""

    shm_size: str | None = None
    """sizeLimit of /dev/shm (memory, counted against the container's limit). None: no limit of its own."""


@_CONFIG
@dataclass(frozen=True, slots=True)
class ProgressSettings:
    """Progress reports from pods to the operator."""

    url: str | None = None
    """`https://SERVICE.NAMESPACE.svc:PORT` as pods reach it. None: no reports; status still gets the result."""

    audience: str = "alignment-operator.io"
    """Audience of the pods' projected token; the endpoint accepts no other."""

    token_seconds: int = 3600
    """Life of the token; the kubelet renews it. The API server's least is 600."""

    report_seconds: float = 5.0
    """A pod reports at most so often."""

    write_seconds: float = 15.0
    """At most one status write per job in so many seconds: 1000 running jobs are 67 writes/s."""

    max_body_bytes: int = 65536
    """A larger report is refused with 413."""

    port: int = 8443
    """HTTPS port of the endpoint."""


@_CONFIG
@dataclass(frozen=True, slots=True)
class GpuPrice:
    """What one GPU costs for an hour."""

    per_hour: float
    """In `currency`; MIG slices and the like are resources of their own and have prices of their own."""

    resource: str = "nvidia.com/gpu"
    """Extended resource that is counted."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Only for pods whose nodeSelector (of their podTemplate, or of a queue's flavor) has these labels. Empty: all."""


@_CONFIG
@dataclass(frozen=True, slots=True)
class UsageSettings:
    """What `status.usage` says beside GPU-seconds."""

    currency: str = "USD"
    """Of the prices."""

    prices: tuple[GpuPrice, ...] = ()
    """The first that fits a pod is its price, from its start to its end. None: no cost is told."""


Commit = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?@[0-9a-f]{40}$")]
Digest = Annotated[str, Field(pattern=r"^[a-z0-9][^@\s]*@sha256:[0-9a-f]{64}$")]
# Names that only tune or report. What is missing here may name a file, a library or a server to run code from.
HARMLESS_ENV = (
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "GLOO_SOCKET_IFNAME",
    "MKL_NUM_THREADS",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "NCCL_ALGO",
    "NCCL_DEBUG",
    "NCCL_DEBUG_SUBSYS",
    "NCCL_IB_DISABLE",
    "NCCL_IB_GID_INDEX",
    "NCCL_IB_HCA",
    "NCCL_P2P_DISABLE",
    "NCCL_PROTO",
    "NCCL_SHM_DISABLE",
    "NCCL_SOCKET_IFNAME",
    "OMP_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TOKENIZERS_PARALLELISM",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "WANDB_API_KEY",
    "WANDB_ENTITY",
    "WANDB_MODE",
    "WANDB_NAME",
    "WANDB_PROJECT",
    "WANDB_RUN_GROUP",
)


@_CONFIG
@dataclass(frozen=True, slots=True)
class AllowedSettings:
    """What jobs may ask for. None: anything; an empty list: nothing but the operator's own. docs/security.md."""

    remote_code: tuple[Commit, ...] | None = None
    """`REPOSITORY@COMMIT` (40 hex digits) of models whose Python code `trustRemoteCode` may run. A list also seals the
    pods: no image that `images` does not name, no init containers, no other environment than `env`."""

    images: tuple[Digest, ...] | None = None
    """`REPOSITORY@sha256:DIGEST` of trainer images, init containers and image volumes, beside the operator's own."""

    service_accounts: tuple[str, ...] | None = None
    """Names that podTemplate may set, beside the namespace's default."""

    max_gpus: int | None = None
    """Most GPUs of one job, nodes x gpusPerNode."""

    env: tuple[str, ...] = HARMLESS_ENV
    """Names of environment variables that podTemplate may set where `remote_code` is a list."""


@_CONFIG
@dataclass(frozen=True, slots=True)
class JobNetworkSettings:
    """The NetworkPolicy that every job gets: in only from its own pods; out to them, DNS, the operator and `egress`."""

    enabled: bool = False
    """Whether it is made. The cluster's network plugin enforces it, or nobody does."""

    egress: tuple[Mapping[str, Any], ...] = ()
    """More rules of `spec.egress`, in Kubernetes' words: the hub or its mirror, a proxy, storage."""

    dns: tuple[Mapping[str, Any], ...] = ()
    """Peers of the rule for DNS, in Kubernetes' words. Empty: port 53 anywhere."""

    operator_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the operator's pods, to which progress goes. Empty: every pod of its namespace, at that port."""


@_CONFIG
@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `Settings()` runs on a plain cluster with NVIDIA GPUs."""

    pods: PodSettings = field(default_factory=PodSettings)
    progress: ProgressSettings = field(default_factory=ProgressSettings)
    allowed: AllowedSettings = field(default_factory=AllowedSettings)
    job_network: JobNetworkSettings = field(default_factory=JobNetworkSettings)
    usage: UsageSettings = field(default_factory=UsageSettings)

    namespace: str = "alignment-operator"
    """Namespace of the operator itself: its Lease and certificate Secret."""

    watch_namespaces: tuple[str, ...] = ()
    """Empty: the whole cluster."""

    workers: int = 48
    """Reconciles at a time; each has two writes under way at most, where a run begins."""

    resync_seconds: float = 600.0
    """Every so often the store is pruned by a LIST and every key reconciled: heals events lost in a watch gap."""

    lease_name: str = "alignment-operator"
    lease_seconds: float = 15.0
    """A dead leader is replaced after so long."""

    health_port: int = 8080
    """Plain HTTP: /healthz, /readyz, /metrics."""

    unschedulable_seconds: float = 20.0
    """A pod that no node takes is reported after so long: an autoscaler or a queue's handover is given that time."""

    run_history: Annotated[int, Field(ge=1, le=10)] = 10
    """Entries kept in `status.runs`, whose schema has room for ten."""

    max_attempts_without_progress: int = 5
    """So many attempts in a row without a new checkpoint, none ended by SIGTERM, end with NoProgress."""

    master_port: int = 29500
    """TCP port of the pod with index 0 for torch.distributed."""


class SettingsProblem(Exception):
    """The settings file cannot be used; the text names every field at fault."""


def load(path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a YAML file with the fields above as keys; `overrides` (nested too) win. Raises SettingsProblem."""
    try:
        data = yaml.safe_load(Path(path).read_text()) or {} if path else {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsProblem(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise SettingsProblem(f"{path}: must hold a mapping of settings")
    try:
        return TypeAdapter(Settings).validate_python(_merged(data, overrides or {}))
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsProblem(f"{path or 'settings'}: " + "; ".join(lines)) from error


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    nested = {k: _merged(base.get(k) or {}, v) for k, v in over.items() if isinstance(v, Mapping)}
    return {**base, **over, **nested}
