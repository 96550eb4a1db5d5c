"""The words that the operator, its tests and its docs share: names, labels, conditions, reasons."""

from enum import StrEnum
from typing import Final

GROUP: Final = "alignment-operator.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "AlignmentJob"
PLURAL: Final = "alignmentjobs"
SINGULAR: Final = "alignmentjob"
SHORT_NAME: Final = "aj"
CRD_NAME: Final = f"{PLURAL}.{GROUP}"

# On every child object; the value of JOB_LABEL is the AlignmentJob's name, of RUN_LABEL the number of the run.
JOB_LABEL: Final = f"{GROUP}/job"
RUN_LABEL: Final = f"{GROUP}/run"
METHOD_LABEL: Final = f"{GROUP}/method"
# On the child Job: digest of the podTemplate that it was made with.
TEMPLATE_ANNOTATION: Final = f"{GROUP}/pod-template"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"  # its value is MANAGER
# Kueue reads these from the child Job.
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
PRIORITY_CLASS_LABEL: Final = "kueue.x-k8s.io/priority-class"
# What podTemplate may not use: labels under these prefixes, volumes and environment variables that start like this.
RESERVED_LABEL_PREFIXES: Final = (f"{GROUP}/", "batch.kubernetes.io/", "kueue.x-k8s.io/")
RESERVED_VOLUME_PREFIX: Final = "alignment-"
RESERVED_ENV_PREFIXES: Final = ("ALIGNMENT_", "KUBEFLOW_TRAINER_", "TORCHELASTIC_")
RESERVED_ENV_NAMES: Final = ("JOB_COMPLETION_INDEX", "POD_NAME", "POD_UID", "NODE_NAME")
CONFIG_PATH: Final = "/etc/alignment"
RESERVED_MOUNTS: Final = (
    CONFIG_PATH,
    "/var/run/secrets/alignment-operator",
    "/output",
    "/cache",
    "/from-job",
    "/tmp",
    "/dev/shm",
    "/dev/termination-log",
)
# Those paths, also with a slash at their end, and whatever would hide a file of the recipe. RE2 and Python agree on it.
RESERVED_MOUNT_PATTERN: Final = f"^({'|'.join(RESERVED_MOUNTS)})/*$|^{CONFIG_PATH}/"

CONTAINER: Final = "trainer"
# 63 (a label) less `-r` and nine digits of a run's number: children are named NAME-rN.
MAX_NAME_LENGTH: Final = 52

# Owners of status fields: one for progress and metrics (any replica), one for the rest (the leader).
MANAGER: Final = "alignment-operator"
PROGRESS_MANAGER: Final = "alignment-operator-progress"


class Method(StrEnum):
    """How the policy is aligned; the name of the spec section that holds its settings."""

    DPO = "dpo"
    SFT = "sft"
    ORPO = "orpo"
    CPO = "cpo"
    KTO = "kto"
    REWARD = "reward"

    @property
    def word(self) -> str:
        """As `status.method`, the column of `kubectl get` and the metrics have it."""
        return "Reward" if self is Method.REWARD else self.upper()


class ReferenceStrategy(StrEnum):
    """Where the reference log-probabilities of DPO and KTO come from."""

    AUTO = "Auto"
    SHARED_ADAPTER = "SharedAdapter"
    RESIDENT = "Resident"
    PRECOMPUTED = "Precomputed"


class ConditionType(StrEnum):
    """Conditions of an AlignmentJob. The last two exist only while true (kstatus)."""

    ACCEPTED = "Accepted"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


# Those that say that a run is over.
ENDS: Final = (ConditionType.COMPLETE, ConditionType.FAILED)


class Phase(StrEnum):
    """One word for the print column; conditions say more."""

    PENDING = "Pending"
    REFUSED = "Refused"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    STARTING = "Starting"
    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Reason(StrEnum):
    """Reasons of conditions and events; a failed run's reason is its failure class (`failures.py`)."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"  # refused by a schema bound or a rule that is newer than the object
    NOT_ALLOWED = "NotAllowed"  # an allow-list of the operator's settings lacks what the spec asks for
    POD_INVALID = "PodInvalid"  # the API server refused the child Job (bad toleration, volume, ...)
    NAME_TAKEN = "NameTaken"  # an object of a child's name exists and is not ours
    WAITING_FOR_JOB = "WaitingForJob"  # model.fromJob is not complete yet
    WAITING_FOR_PODS = "WaitingForPods"  # pods of the same or the previous run still exist
    VOLUME_NOT_SHARED = "VolumeNotShared"  # nodes > 1 on a ReadWriteOnce claim
    VOLUME_NOT_FOUND = "VolumeNotFound"
    CREATED = "Created"
    NOT_QUEUED = "NotQueued"
    WAITING_IN_QUEUE = "WaitingInQueue"
    ADMITTED = "Admitted"
    PREEMPTED = "Preempted"  # by a workload of higher priority; waits in the queue again
    EVICTED = "Evicted"  # by Kueue for another reason; waits in the queue again
    INADMISSIBLE = "Inadmissible"  # the queue does not exist, or can never give what the run requests
    NO_WORKLOAD = "NoWorkload"  # Kueue is installed and takes no notice of the Job
    KUEUE_NOT_INSTALLED = "KueueNotInstalled"
    DEACTIVATED = "Deactivated"  # Kueue set the Workload's spec.active to false
    SUSPENDED_BY_USER = "SuspendedByUser"
    NOT_SUSPENDED = "NotSuspended"
    STARTING = "Starting"
    RUNNING = "Running"
    NOT_RUNNING = "NotRunning"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    VOLUME_NOT_MOUNTED = "VolumeNotMounted"
    POD_REFUSED = "PodRefused"
    NODE_LOST = "NodeLost"
    BACKING_OFF = "BackingOff"
    COMPLETE = "Complete"
    STOPPED_EARLY = "StoppedEarly"
    ALREADY_COMPLETE = "AlreadyComplete"
    NO_RESULT = "NoResult"
    NOT_FINISHED = "NotFinished"
    NOT_FAILED = "NotFailed"
    RERUN = "Rerun"
