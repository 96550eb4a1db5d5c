"""Exit codes and failure classes: how this process tells the operator what happened.

The numbers are those of docs/contract/failures.json (a test holds the two equal). Every error that a user can cause or
cure is a `TrainerError`: one sentence on what happened, one on what to do about it, which names the field. Exceptions
of other libraries become one of these in diagnosis.py.
"""

from __future__ import annotations

EX_OK = 0
EX_UNHANDLED = 1
EX_DATAERR = 65
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_OSERR = 71
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78
EX_GPU_OOM = 80
EX_DIVERGED = 81
EX_NO_PROGRESS = 82
EX_HUNG = 83
SIGABRT = 134
SIGKILL = 137
SIGSEGV = 139
SIGTERM = 143

CLASS_OF: dict[int, str] = {
    EX_CONFIG: "UserError",
    EX_DATAERR: "DataError",
    EX_NOINPUT: "ModelUnavailable",
    EX_NOPERM: "AccessDenied",
    EX_GPU_OOM: "GpuOutOfMemory",
    EX_DIVERGED: "Diverged",
    EX_NO_PROGRESS: "NoProgress",
    EX_UNAVAILABLE: "Infrastructure",
    EX_SOFTWARE: "Internal",
    EX_UNHANDLED: "Internal",
    EX_OSERR: "Infrastructure",
    SIGABRT: "Infrastructure",
    SIGSEGV: "Infrastructure",
    EX_IOERR: "StorageError",
    EX_HUNG: "Hung",
    SIGKILL: "Killed",
    EX_TEMPFAIL: "Preempted",
    SIGTERM: "Preempted",
}


def class_of(exit_code: int) -> str:
    """Failure class of a container's exit code (not 0); codes outside the table are Internal."""
    return CLASS_OF.get(exit_code, "Internal")


class TrainerError(Exception):
    """The attempt ends with `exit_code`; `message` says what happened, `cure` what to do (naming the spec's field)."""

    exit_code: int = EX_SOFTWARE
    class_name: str = "Internal"

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


class UserError(TrainerError):
    """The recipe is impossible, here or anywhere."""

    exit_code, class_name = EX_CONFIG, "UserError"


class DataError(TrainerError):
    """The dataset does not fit the method, or has no usable row."""

    exit_code, class_name = EX_DATAERR, "DataError"


class ModelUnavailable(TrainerError):
    """A model or dataset (or its revision, file, folder) does not exist."""

    exit_code, class_name = EX_NOINPUT, "ModelUnavailable"


class AccessDenied(TrainerError):
    """The hub refuses: gated, private, bad token."""

    exit_code, class_name = EX_NOPERM, "AccessDenied"


class GpuOutOfMemory(TrainerError):
    """The accelerator's memory does not suffice."""

    exit_code, class_name = EX_GPU_OOM, "GpuOutOfMemory"


class HostOutOfMemory(TrainerError):
    """The container's memory does not suffice. The code is that of the kernel's OOM killer."""

    exit_code, class_name = SIGKILL, "HostOutOfMemory"


class Diverged(TrainerError):
    """NaN or infinite loss or gradients."""

    exit_code, class_name = EX_DIVERGED, "Diverged"


class NoProgress(TrainerError):
    """Attempt after attempt failed without a new checkpoint."""

    exit_code, class_name = EX_NO_PROGRESS, "NoProgress"


class Infrastructure(TrainerError):
    """Hub or network down (69)."""

    exit_code, class_name = EX_UNAVAILABLE, "Infrastructure"


class DeviceError(Infrastructure):
    """GPU or driver (71)."""

    exit_code = EX_OSERR


class StorageError(TrainerError):
    """Disk full, not writable, not readable: a checkpoint could not be written."""

    exit_code, class_name = EX_IOERR, "StorageError"


class Hung(TrainerError):
    """No step for hangTimeoutSeconds."""

    exit_code, class_name = EX_HUNG, "Hung"


class Preempted(TrainerError):
    """Stopped by SIGTERM: nobody's fault, the next attempt goes on."""

    exit_code, class_name = EX_TEMPFAIL, "Preempted"


class PeerFailed(Preempted):
    """Another process of this run failed; that one has the real reason."""


class Internal(TrainerError):
    """A defect of the trainer or of a library under it."""
