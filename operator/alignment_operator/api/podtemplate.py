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


class Named(Section):
    """An item of a list that merges by name."""

    model_config = Open
    name: Name = Field(description="Name, by which lists merge.")


class VolumeMount(Section):
    """A volume mount; see `kubectl explain pod.spec.containers.volumeMounts`."""

    model_config = Open
    name: Name = Field(description="Name of a volume.")
    mount_path: Path | None = Field(None, alias="mountPath", description="Folder in the container.")


def _reserved(cure: str) -> Any:
    return Field(None, description=f"Refused: {cure}")


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
    image: Text | None = _reserved("set spec.image.")
    image_pull_policy: Text | None = Field(None, alias="imagePullPolicy", description="Refused: set the spec's own.")
    command: Annotated[list[Text], Field(max_length=256)] | None = _reserved("the operator starts the trainer.")
    args: Annotated[list[Text], Field(max_length=256)] | None = _reserved("the recipe is made from the spec.")
    resources: Opaque | None = _reserved("set spec.resources and spec.gpusPerNode.")
    security_context: Opaque | None = Field(None, alias="securityContext", description="Refused: always restricted.")
    working_dir: Text | None = Field(None, alias="workingDir", description="Refused: the operator sets it.")
    lifecycle: Opaque | None = _reserved("the trainer handles its own end.")
    liveness_probe: Opaque | None = Field(None, alias="livenessProbe", description="Refused: hangTimeoutSeconds.")
    readiness_probe: Opaque | None = Field(None, alias="readinessProbe", description="Refused: not a server.")
    startup_probe: Opaque | None = Field(None, alias="startupProbe", description="Refused: hangTimeoutSeconds.")
    termination_message_path: Text | None = Field(
        None, alias="terminationMessagePath", description="Refused: the result is read from it."
    )
    termination_message_policy: Text | None = Field(
        None, alias="terminationMessagePolicy", description="Refused: the result is read from it."
    )


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
    restart_policy: Text | None = Field(None, alias="restartPolicy", description="Refused: always Never.")
    active_deadline_seconds: int | None = Field(
        None, alias="activeDeadlineSeconds", description="Refused: set spec.activeDeadlineSeconds."
    )
    termination_grace_period_seconds: int | None = Field(
        None, alias="terminationGracePeriodSeconds", description="Refused: set spec.terminationGracePeriodSeconds."
    )
    priority_class_name: Text | None = Field(
        None, alias="priorityClassName", description="Refused: set spec.priorityClassName."
    )
    automount_service_account_token: bool | None = Field(
        None, alias="automountServiceAccountToken", description="Refused: pods hold no API credentials."
    )
    hostname: Text | None = _reserved("an Indexed Job names its pods.")
    subdomain: Text | None = _reserved("the headless Service of the run.")
    host_pid: bool | None = Field(None, alias="hostPID", description="Refused: not allowed to a trainer.")
    share_process_namespace: bool | None = Field(
        None, alias="shareProcessNamespace", description="Refused: the trainer must be process 1's child."
    )
    ephemeral_containers: Annotated[list[Opaque], Field(max_length=8)] | None = Field(
        None, alias="ephemeralContainers", description="Refused: use kubectl debug."
    )


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
    empty_dir: Opaque | None = Field(None, alias="emptyDir", description="Refused: dies with the pod.")
    ephemeral: Opaque | None = _reserved("dies with the pod.")
    secret: Opaque | None = _reserved("read-only.")
    config_map: Opaque | None = Field(None, alias="configMap", description="Refused: read-only.")
    image: Opaque | None = _reserved("read-only.")
    projected: Opaque | None = _reserved("read-only.")
    downward_api: Opaque | None = Field(None, alias="downwardAPI", description="Refused: read-only.")
