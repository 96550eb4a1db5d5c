"""`spec.podTemplate`: an overlay over the pod that the operator makes, and the volumes that a spec may name.

Most of a pod is left to the API server to check. Declared here is what the rules must see: the fields that the operator
owns, so that they are refused with their path instead of being overwritten or merged into something that cannot run.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from alignment_operator.api.schema import Name, Path, Section, Text

Opaque = dict[str, Any]
# An entry of a list of a pod: the keys that a rule reads, and whatever else Kubernetes has.
Open = ConfigDict(populate_by_name=True, extra="allow", protected_namespaces=())


# Reserved field of a pod -> what decides it instead. The rules refuse these, the overlay does again, and this is where
# `kubectl explain` has its words from.
RESERVED_POD_FIELDS = {
    "restartPolicy": "failed pods are replaced by the Job: it is always Never",
    "activeDeadlineSeconds": "set spec.activeDeadlineSeconds",
    "terminationGracePeriodSeconds": "set spec.terminationGracePeriodSeconds",
    "priorityClassName": "set spec.priorityClassName",
    "automountServiceAccountToken": "pods of a job hold no API credentials",
    "hostname": "an Indexed Job names its pods",
    "subdomain": "pods find each other by the Service of the run",
    "hostPID": "a trainer may not see the node's processes",
    "shareProcessNamespace": "the trainer must be the container's first process",
    "ephemeralContainers": "use kubectl debug",
}
# The same of the container `trainer`
RESERVED_CONTAINER_FIELDS = {
    "image": "set spec.image",
    "imagePullPolicy": "set spec.imagePullPolicy",
    "command": "the operator starts the trainer",
    "args": "the recipe is made from the spec",
    "resources": "set spec.resources and spec.gpusPerNode",
    "securityContext": "trainers always run restricted",
    "workingDir": "the trainer's folder is spec.output",
    "lifecycle": "the trainer handles its own end",
    "livenessProbe": "set spec.hangTimeoutSeconds",
    "readinessProbe": "a trainer serves nothing",
    "startupProbe": "set spec.hangTimeoutSeconds",
    "terminationMessagePath": "the result is read from it",
    "terminationMessagePolicy": "the result is read from it",
}


class Named(Section):
    """An item of a list that merges by name."""

    model_config = Open
    name: Name = Field(description="Name, by which lists merge.")


class VolumeMount(Section):
    """A volume mount; see `kubectl explain pod.spec.containers.volumeMounts`."""

    model_config = Open
    name: Name = Field(description="Name of a volume.")
    mount_path: Path | None = Field(None, alias="mountPath", description="Folder in the container.")


def _refused(why: str, alias: str | None = None) -> Any:
    return Field(None, alias=alias, description=f"Refused: {why}.")


def _of_container(field: str) -> Any:
    return _refused(RESERVED_CONTAINER_FIELDS[field], field)


def _of_pod(field: str) -> Any:
    return _refused(RESERVED_POD_FIELDS[field], field)


class TrainerContainer(Section):
    """The overlay of the container `trainer`: env, envFrom and volumeMounts; the rest is the operator's."""

    name: Name = Field(description="Must be `trainer`.")
    env: Annotated[list[Named], Field(max_length=128)] | None = Field(None, description="Environment variables.")
    env_from: Annotated[list[Opaque], Field(max_length=32)] | None = Field(
        None, alias="envFrom", description="Sources of environment variables."
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=64)] | None = Field(
        None, alias="volumeMounts", description="Mounts of podTemplate.spec.volumes."
    )
    image: Text | None = _of_container("image")
    image_pull_policy: Text | None = _of_container("imagePullPolicy")
    command: Annotated[list[Text], Field(max_length=256)] | None = _of_container("command")
    args: Annotated[list[Text], Field(max_length=256)] | None = _of_container("args")
    resources: Opaque | None = _of_container("resources")
    security_context: Opaque | None = _of_container("securityContext")
    working_dir: Text | None = _of_container("workingDir")
    lifecycle: Opaque | None = _of_container("lifecycle")
    liveness_probe: Opaque | None = _of_container("livenessProbe")
    readiness_probe: Opaque | None = _of_container("readinessProbe")
    startup_probe: Opaque | None = _of_container("startupProbe")
    termination_message_path: Text | None = _of_container("terminationMessagePath")
    termination_message_policy: Text | None = _of_container("terminationMessagePolicy")


class PodSpec(Section):
    """The pod's overlay; see `kubectl explain pod.spec`. Fields declared here are checked or refused."""

    model_config = Open
    containers: Annotated[list[TrainerContainer], Field(max_length=8)] | None = Field(
        None, description="The container `trainer` only."
    )
    init_containers: Annotated[list[Named], Field(max_length=16)] | None = Field(
        None, alias="initContainers", description="Init containers, and sidecars (restartPolicy: Always)."
    )
    volumes: Annotated[list[Named], Field(max_length=64)] | None = Field(None, description="More volumes.")
    restart_policy: Text | None = _of_pod("restartPolicy")
    active_deadline_seconds: int | None = _of_pod("activeDeadlineSeconds")
    termination_grace_period_seconds: int | None = _of_pod("terminationGracePeriodSeconds")
    priority_class_name: Text | None = _of_pod("priorityClassName")
    automount_service_account_token: bool | None = _of_pod("automountServiceAccountToken")
    hostname: Text | None = _of_pod("hostname")
    subdomain: Text | None = _of_pod("subdomain")
    host_pid: bool | None = _of_pod("hostPID")
    share_process_namespace: bool | None = _of_pod("shareProcessNamespace")
    ephemeral_containers: Annotated[list[Opaque], Field(max_length=8)] | None = _of_pod("ephemeralContainers")


class PodMetadata(Section):
    """Labels and annotations of the pods."""

    labels: dict[Name, Annotated[str, Field(max_length=63)]] | None = Field(None, max_length=64, description="Labels.")
    annotations: dict[Name, Annotated[str, Field(max_length=16384)]] | None = Field(
        None, max_length=64, description="Annotations."
    )


class PodTemplate(Section):
    """An overlay merged over the pod that the operator makes. A change acts from the next run."""

    metadata: PodMetadata | None = Field(None, description="Labels and annotations of the pods.")
    spec: PodSpec | None = Field(None, description="Overlay of the pod; lists merge by name.")


class PersistentVolumeClaim(Section):
    """A claim in the job's namespace."""

    claim_name: Name = Field(alias="claimName", description="Name of the claim.")


class Nfs(Section):
    """An NFS export."""

    server: Name = Field(description="Host name or address.")
    path: Path = Field(description="Exported path.")


class HostPath(Section):
    """A folder of the node (refused by Pod Security baseline and restricted)."""

    path: Path = Field(description="Path on the node.")
    type: Text | None = Field(None, description="See Kubernetes' hostPath types.")


class Csi(Section):
    """An inline CSI volume whose driver keeps the data."""

    driver: Name = Field(description="Name of the driver.")
    fs_type: Text | None = Field(None, alias="fsType", description="Filesystem type.")
    volume_attributes: dict[Name, Text] | None = Field(
        None, alias="volumeAttributes", max_length=64, description="Attributes for the driver."
    )
    node_publish_secret_ref: Named | None = Field(
        None, alias="nodePublishSecretRef", description="Secret for the driver."
    )


class Volume(Section):
    """A volume that outlives the pod. Kinds that do not are declared only to be refused with a cure."""

    persistent_volume_claim: PersistentVolumeClaim | None = Field(
        None, alias="persistentVolumeClaim", description="A claim: the usual choice."
    )
    nfs: Nfs | None = Field(None, description="An NFS export.")
    host_path: HostPath | None = Field(None, alias="hostPath", description="A folder of the node.")
    csi: Csi | None = Field(None, description="An inline CSI volume whose driver keeps the data.")
    empty_dir: Opaque | None = _refused("dies with the pod", "emptyDir")
    ephemeral: Opaque | None = _refused("dies with the pod")
    secret: Opaque | None = _refused("read-only")
    config_map: Opaque | None = _refused("read-only", "configMap")
    image: Opaque | None = _refused("read-only")
    projected: Opaque | None = _refused("read-only")
    downward_api: Opaque | None = _refused("read-only", "downwardAPI")
