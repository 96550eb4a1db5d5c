"""The pod template of a run: what docs/contract/README.md promises to the trainer, within Pod Security `restricted`."""

from __future__ import annotations

from typing import Any

from . import fromjob, overlay
from .api.alignmentjob import AlignmentJob, Spec
from .api.constants import CONFIG_PATH, CONTAINER
from .labels import of_run
from .problems import SpecProblem
from .recipe import OUTPUT_MOUNT, child_name
from .settings import PodSettings, Settings
from .views import UpstreamView

Json = dict[str, Any]

CACHE_MOUNT = "/cache"
CONFIG_VOLUME = "alignment-config"
TOKEN_DIR = "/var/run/secrets/alignment-operator"

# An unknown UID has no home and no name: whatever asks for them (PEFT, Inductor, Triton) gets a folder of the emptyDir.
HOME_ENV = {
    "HOME": "/tmp/home",
    "USER": CONTAINER,
    "LOGNAME": CONTAINER,
    "TMPDIR": "/tmp",
    "XDG_CACHE_HOME": "/tmp/cache",
    "TRITON_CACHE_DIR": "/tmp/triton",
    "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",
    # Code of models is imported from here, and never from the cache volume, to which others write.
    "HF_MODULES_CACHE": "/tmp/modules",
}


def template(job: AlignmentJob, run: int, settings: Settings, upstream: UpstreamView | None = None) -> Json:
    """`spec.template` of the Job, with the user's podTemplate merged in.

    `upstream`: the job that `spec.model.fromJob` names. Raises SpecProblem where the podTemplate or `spec.resources`
    touch what is the operator's, and when the upstream job is gone.
    """
    spec: Json = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": job.spec.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(settings.pods),
        "containers": [_container(job, run, settings)],
        "volumes": _volumes(job, run, settings, upstream),
    }
    if job.spec.nodes > 1:
        spec["subdomain"] = child_name(job.metadata.name, run)
    if job.spec.priority_class_name:
        spec["priorityClassName"] = job.spec.priority_class_name
    spec |= _of_settings(settings.pods)
    return overlay.apply({"metadata": {"labels": of_run(job, run)}, "spec": spec}, _written(job.spec.pod_template))


def _of_settings(pods: PodSettings) -> Json:
    """What the settings give to every pod; the podTemplate is merged over it."""
    given: Json = {
        "imagePullSecrets": [{"name": name} for name in pods.image_pull_secrets],
        "tolerations": [dict(toleration) for toleration in pods.tolerations],
        "nodeSelector": dict(pods.node_selector),
    }
    return {name: value for name, value in given.items() if value}


def _pod_security(pods: PodSettings) -> Json:
    security: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if pods.run_as_user is not None:
        security |= {"runAsUser": pods.run_as_user, "runAsGroup": pods.run_as_user}
    if pods.fs_group is not None:
        # OnRootMismatch: a volume of a million files is not walked at every start
        security |= {"fsGroup": pods.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    return security


def _container(job: AlignmentJob, run: int, settings: Settings) -> Json:
    spec = job.spec
    container: Json = {
        "name": CONTAINER,
        "image": spec.image or settings.pods.image,
        "env": _env(job, run, settings),
        "resources": _resources(spec, settings.pods),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        # a process that dies without a word (another image, a crash at import) at least leaves its log's tail
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(spec, settings),
    }
    policy = spec.image_pull_policy or settings.pods.image_pull_policy
    if policy:
        container["imagePullPolicy"] = policy
    return container


def _env(job: AlignmentJob, run: int, settings: Settings) -> list[Json]:
    spec = job.spec
    values = {"ALIGNMENT_CONFIG_DIR": CONFIG_PATH, "PYTHONUNBUFFERED": "1", **HOME_ENV}
    values |= {"HF_HOME": f"{CACHE_MOUNT}/huggingface", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if settings.pods.hub_offline:
        values["HF_HUB_OFFLINE"] = "1"
    if settings.allowed.remote_code is not None:
        values["USE_HUB_KERNELS"] = "0"  # a config.json can name one
    values |= settings.pods.env
    if settings.progress.url:
        values |= _progress_env(job, run, settings.progress.url)
    env: list[Json] = [{"name": name, "value": value} for name, value in values.items()]
    for name, path in (("POD_NAME", "metadata.name"), ("POD_UID", "metadata.uid"), ("NODE_NAME", "spec.nodeName")):
        env.append({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
    return env + _tokens(spec)


def _progress_env(job: AlignmentJob, run: int, url: str) -> dict[str, str]:
    meta = job.metadata
    path = f"v1/namespaces/{meta.namespace}/alignmentjobs/{meta.name}/runs/{run}/progress"
    return {
        "KUBEFLOW_TRAINER_SERVER_URL": f"{url.rstrip('/')}/{path}",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": f"{TOKEN_DIR}/token",
        "KUBEFLOW_TRAINER_SERVER_CA_CERT": f"{CONFIG_PATH}/ca.crt",
    }


def _tokens(spec: Spec) -> list[Json]:
    """HF_TOKEN reads models and datasets; ALIGNMENT_PUSH_TOKEN writes, where the spec names another Secret for that."""
    env = []
    push = spec.output.push.secret_name if spec.output.push else None
    if spec.hub:
        env.append(_secret("HF_TOKEN", spec.hub.secret_name, spec.hub.key))
    elif push:
        env.append(_secret("HF_TOKEN", push, "token"))
    if push:
        env.append(_secret("ALIGNMENT_PUSH_TOKEN", push, "token"))
    return env


def _secret(variable: str, name: str, key: str) -> Json:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _resources(spec: Spec, pods: PodSettings) -> Json:
    """`spec.resources` or the operator's default, and the GPUs as limits (extended resources: request equals limit)."""
    resources: Json = spec.resources.written() if spec.resources else dict(pods.resources)
    gpu = spec.gpu_resource or pods.gpu_resource
    for part in ("requests", "limits"):
        if gpu in resources.get(part, {}):
            raise SpecProblem(f"spec.resources.{part}[{gpu}]", "GPUs are counted by spec.gpusPerNode; remove it here.")
        if part in resources:
            resources[part] = {name: str(quantity) for name, quantity in resources[part].items()}
    if spec.gpus_per_node:
        resources["limits"] = {**resources.get("limits", {}), gpu: str(spec.gpus_per_node)}
    return resources


def _mounts(spec: Spec, settings: Settings) -> list[Json]:
    mounts: list[Json] = [
        {"name": CONFIG_VOLUME, "mountPath": CONFIG_PATH, "readOnly": True},
        {"name": "alignment-output", "mountPath": OUTPUT_MOUNT},
        {"name": "alignment-cache", "mountPath": CACHE_MOUNT},
        {"name": "alignment-tmp", "mountPath": "/tmp"},
        {"name": "alignment-shm", "mountPath": "/dev/shm"},
    ]
    if settings.progress.url:
        mounts.append({"name": "alignment-token", "mountPath": TOKEN_DIR, "readOnly": True})
    if spec.model.from_job:
        mounts.append({"name": "alignment-from-job", "mountPath": fromjob.FROM_JOB_MOUNT, "readOnly": True})
    return mounts


def _volumes(job: AlignmentJob, run: int, settings: Settings, upstream: UpstreamView | None) -> list[Json]:
    shm = {"medium": "Memory"} | ({"sizeLimit": settings.pods.shm_size} if settings.pods.shm_size else {})
    volumes: list[Json] = [
        {"name": CONFIG_VOLUME, "configMap": {"name": child_name(job.metadata.name, run), "defaultMode": 0o444}},
        {"name": "alignment-output", **_written(job.spec.output.volume)},
        {"name": "alignment-cache", **_cache(job.spec, settings.pods)},
        {"name": "alignment-tmp", "emptyDir": {}},
        {"name": "alignment-shm", "emptyDir": shm},
    ]
    if settings.progress.url:
        volumes.append({"name": "alignment-token", "projected": _token(settings)})
    if job.spec.model.from_job:
        volumes.append({"name": "alignment-from-job", **fromjob.volume(job.spec.model.from_job, upstream)})
    return volumes


def _cache(spec: Spec, pods: PodSettings) -> Json:
    if spec.cache:
        return _written(spec.cache.volume)
    return dict(pods.cache_volume) if pods.cache_volume else {"emptyDir": {}}


def _token(settings: Settings) -> Json:
    token = {
        "path": "token",
        "audience": settings.progress.audience,
        "expirationSeconds": settings.progress.token_seconds,
    }
    return {"defaultMode": 0o444, "sources": [{"serviceAccountToken": token}]}


def _written(section: Any) -> Json:
    """A section that is Kubernetes' own, in Kubernetes' words."""
    return section.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True) if section else {}
