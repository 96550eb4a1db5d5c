"""What a foreign exception means: one of our failure classes, with a cure that names the field.

Rules are tried in order over the whole chain of causes (transformers wraps the hub's errors), and know exceptions by
the name of their class and module, so that no library is imported to ask.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Callable, Iterator

from . import cures, exits
from .data_faults import is_data_fault, raised_by
from .exits import TrainerError

_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EFBIG}
_DISK = (
    r"no space left on device|file too large|disk quota exceeded|read-only file system|input/output error|"
    r"stale file handle|inline_container|PytorchStreamWriter"
)
_GPU_MEMORY = r"(cuda|hip|xpu).*out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
_HOST_MEMORY = r"can't allocate memory|DefaultCPUAllocator|cannot allocate memory|unable to mmap"
_DEVICE = (
    r"CUDA (driver )?error|CUDNN_STATUS|CUBLAS_STATUS|NVIDIA driver|No CUDA GPUs|no kernel image|NVML|"
    r"invalid device ordinal|CUDA is not available|Torch not compiled with CUDA"
)
_PEER = (
    r"connection (was )?(closed|reset)( by peer)?|connection refused by|broken pipe|gloo|timed out waiting|"
    r"NCCL|watchdog|process group|wait timeout|socket timeout|the client socket|recvValue|store"
)
_HUB_DOWN = (
    r"couldn't connect to|name resolution|max retries exceeded|connection error|check your (internet )?connection"
)
_NOT_NOW = r"certificate has expired|certificate is not yet valid"
_MLFLOW_REFUSALS = ("INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_DOES_NOT_EXIST")


def classify(error: BaseException) -> TrainerError:
    """The failure class of any exception, with message and cure. A TrainerError is returned as it is."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, TrainerError):
            return link
    for rule in _RULES:
        for link in chain:
            if known := rule(link, error):
                return known
    return exits.Internal(_say(error), cure="See the traceback in the log; this looks like a defect.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _interrupt(link: BaseException, _: BaseException) -> TrainerError | None:
    return exits.Preempted("Interrupted.") if isinstance(link, KeyboardInterrupt) else None


def _peer(link: BaseException, _: BaseException) -> TrainerError | None:
    """Another process of the run is gone. Only with several processes, and only from torch.distributed."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not isinstance(link, RuntimeError):
        return None
    distributed = _named(link, "DistBackendError", "DistNetworkError", "DistStoreError", "DistError") or any(
        "torch/distributed" in frame.filename
        or frame.name in ("all_reduce", "barrier", "broadcast", "_wrap_model", "gather")
        for frame in traceback.extract_tb(link.__traceback__)
    )
    text = str(link)
    if (distributed and re.search(_PEER, text, re.I)) or re.search(r"gloo/transport|ProcessGroup(Gloo|NCCL)", text):
        return exits.PeerFailed(f"Another process of this run is gone: {_say(link, 300)}")
    return None


def _gpu_memory(link: BaseException, _: BaseException) -> TrainerError | None:
    known = _named(link, "OutOfMemoryError") and _module(link).startswith("torch")
    if known or (isinstance(link, RuntimeError) and re.search(_GPU_MEMORY, str(link), re.I)):
        return exits.GpuOutOfMemory(_say(link), cures.MEMORY)
    return None


def _host_memory(link: BaseException, _: BaseException) -> TrainerError | None:
    known = isinstance(link, MemoryError) or (isinstance(link, OSError) and link.errno == errno.ENOMEM)
    if known or (isinstance(link, RuntimeError) and re.search(_HOST_MEMORY, str(link), re.I)):
        cure = "Raise spec.resources.limits.memory, or lower spec.training.perDeviceTrainBatchSize."
        return exits.HostOutOfMemory(f"The container's memory is used up: {_say(link)}", cure)
    return None


def _device(link: BaseException, _: BaseException) -> TrainerError | None:
    known = _named(link, "AcceleratorError") or (isinstance(link, RuntimeError) and re.search(_DEVICE, str(link)))
    return exits.DeviceError(_say(link), cures.DEVICE) if known else None


def _disk(link: BaseException, _: BaseException) -> TrainerError | None:
    full = isinstance(link, OSError) and link.errno in _DISK_ERRNOS
    if full:
        return exits.StorageError(_say(link), cures.STORAGE)
    if re.search(_DISK, str(link), re.I):  # torch's archive writer says where in its own source it gave up
        return exits.StorageError(f"A file could not be read or written: {_say(link)}", cures.STORAGE)
    return None


def _tracker(link: BaseException, _: BaseException) -> TrainerError | None:
    """What an experiment tracker says in its own words: it refuses, or its server is not to be reached."""
    if _package(link) not in ("wandb", "mlflow", "trackio"):
        return None
    refused = _named(link, "UsageError", "AuthenticationError") or getattr(link, "error_code", "") in _MLFLOW_REFUSALS
    kind = exits.UserError if refused else exits.Infrastructure
    return kind(_say(link), cures.TRACKER)


def _denied(link: BaseException, error: BaseException) -> TrainerError | None:
    if _named(link, "GatedRepoError", "LocalTokenNotFoundError"):
        return exits.AccessDenied(_say(link), cures.TOKEN)
    # The hub says 401 for what it does not have, too; the HTTP library's own error, its cause, knows only the number
    missing = any(_named(outer, "RepositoryNotFoundError", "DisabledRepoError") for outer in _chain(error))
    if _status(link) in (401, 403) and not missing:
        return exits.AccessDenied(_say(link), cures.TOKEN)
    return None


_MISSING = (
    "RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError", "RemoteEntryNotFoundError",
    "DatasetNotFoundError", "DataFilesNotFoundError", "FileNotFoundDatasetsError", "DisabledRepoError",
    "OfflineModeIsEnabled", "HFValidationError",
)  # fmt: skip


def _missing(link: BaseException, _: BaseException) -> TrainerError | None:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    not_cached = _named(link, "LocalEntryNotFoundError") or re.search(_HUB_DOWN, str(link), re.I)
    if type(link).__name__ in _MISSING or (offline and isinstance(link, OSError) and not_cached):
        return exits.ModelUnavailable(_say(link), cures.NAME)
    if isinstance(link, ValueError) and re.search(r"unknown split|BuilderConfig .* not found", str(link), re.I):
        cure = "Check spec.dataset.datasetTrainSplit and spec.dataset.datasetConfig."
        return exits.ModelUnavailable(_say(link), cure)
    return None


def _untrusted(link: BaseException, _: BaseException) -> TrainerError | None:
    """A certificate that no known authority has signed; one that has expired its owner renews, so it is tried again."""
    text = str(link)
    if "CERTIFICATE_VERIFY_FAILED" in text and not re.search(_NOT_NOW, text):
        return exits.UserError(f"A server's TLS certificate is not trusted: {_say(link)}", cures.CERTIFICATE)
    return None


def _network(link: BaseException, _: BaseException) -> TrainerError | None:
    status = _status(link)
    library = _module(link).split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3", "aiohttp")
    transport = library and any(
        word in type(link).__name__ for word in ("Connect", "Timeout", "Transport", "Protocol", "Read")
    )
    system = isinstance(link, ConnectionError | TimeoutError) or _named(link, "gaierror", "URLError")
    if transport or system or (status is not None and (status >= 500 or status == 429)):
        return exits.Infrastructure(_say(link), cures.NETWORK)
    if isinstance(link, OSError) and re.search(_HUB_DOWN, str(link), re.I):
        return exits.Infrastructure(_say(link), cures.NETWORK)
    return None


def _missing_file(link: BaseException, _: BaseException) -> TrainerError | None:
    if isinstance(link, FileNotFoundError | NotADirectoryError):
        return exits.ModelUnavailable(_say(link), cures.NAME)
    if isinstance(link, PermissionError):
        return exits.StorageError(_say(link), cures.STORAGE)
    hub = r"is not a local folder|does not appear to have a file named|is not a valid model identifier|no file named"
    if isinstance(link, OSError) and re.search(hub, str(link)):
        return exits.ModelUnavailable(_say(link), cures.NAME)
    return None


def _data(link: BaseException, error: BaseException) -> TrainerError | None:
    return exits.DataError(_say(error), cures.DATA) if is_data_fault(link) else None


def _settings(link: BaseException, _: BaseException) -> TrainerError | None:
    """A library's refusal while models and trainer are built; the same exception inside a step is a defect."""
    frames = traceback.extract_tb(link.__traceback__)
    library = raised_by(frames) == "library"
    if library and _refuses(link, frames) and not _in_step(frames):
        known = (cure for words, cure in cures.SETTINGS_BY_WORDS.items() if re.search(words, str(link)))
        return exits.UserError(_say(link), next(known, cures.SETTINGS))
    return None


def _refuses(link: BaseException, frames: traceback.StackSummary) -> bool:
    """A TypeError is a refusal if it was raised as one, or by a keyword that the spec's maps of arguments may hold."""
    if isinstance(link, TypeError):
        return (frames[-1].line or "").startswith("raise ") or "unexpected keyword argument" in str(link)
    return isinstance(link, ValueError | NotImplementedError | ImportError) or _deepspeeds(link, frames)


def _deepspeeds(link: BaseException, frames: traceback.StackSummary) -> bool:
    """Its refusals are assertions too; and it compiles operations when they are asked for, if it can."""
    asserts = isinstance(link, AssertionError) and any("/deepspeed/" in frame.filename for frame in frames[-1:])
    return asserts or any("/op_builder/" in frame.filename for frame in frames)


_RULES: tuple[Callable[[BaseException, BaseException], TrainerError | None], ...] = (
    _interrupt, _peer, _gpu_memory, _host_memory, _device, _disk, _tracker, _untrusted, _denied, _missing, _network,
    _missing_file, _data, _settings,
)  # fmt: skip


def _in_step(frames: traceback.StackSummary) -> bool:
    return any(frame.name in ("training_step", "_run_epoch", "prediction_step", "compute_loss") for frame in frames)


def _named(link: BaseException, *names: str) -> bool:
    """Whether the exception's class or one of its bases has one of these names."""
    return any(base.__name__ in names for base in type(link).__mro__)


def _module(link: BaseException) -> str:
    return type(link).__module__ or ""


def _package(link: BaseException) -> str:
    return _module(link).split(".")[0]


def _status(link: BaseException) -> int | None:
    """HTTP status of the hub's errors and of the HTTP libraries'."""
    code = getattr(getattr(link, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _say(error: BaseException, limit: int = 800) -> str:
    """One line: the exception's own words, with the class where they say little alone."""
    text = " ".join(str(error).split())[:limit]
    plain = isinstance(error, OSError | ValueError | RuntimeError) and not isinstance(error, UnicodeError)
    return text if text and plain else f"{type(error).__name__}: {text}".rstrip(": ")
