"""What libraries raise becomes the right class, with a cure. The exceptions are the libraries' own."""

import errno
import os
import socket
import ssl
import tempfile
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from alignment_trainer import exits
from alignment_trainer.diagnosis import classify
from tests.hub import Hub
from tests.self_signed import HOUR, certificate, server_context


def http_error(status, kind="HfHubHTTPError", code=None):
    """An error as huggingface_hub makes it of an HTTP answer."""
    import huggingface_hub.errors as hub

    headers = {"X-Error-Code": code} if code else {}
    request = httpx2.Request("GET", "http://127.0.0.1/api/models/a/b")
    response = httpx2.Response(status, headers=headers, request=request)
    return getattr(hub, kind)(f"{status} Client Error", response=response)


def answered(status, code=None, path="/api/models/a/b"):
    """What huggingface_hub raises by itself for that answer, with the HTTP library's error as its cause."""
    from huggingface_hub.utils import hf_raise_for_status

    request = httpx2.Request("GET", f"http://127.0.0.1{path}")
    response = httpx2.Response(status, headers={"X-Error-Code": code} if code else {}, request=request)
    return raised(lambda: hf_raise_for_status(response))


def wrapped(cause, error):
    try:
        raise error from cause
    except Exception as caught:
        return caught


def raised(action):
    try:
        action()
    except BaseException as caught:
        return caught
    raise AssertionError("nothing was raised")


def torch_error(message, name="OutOfMemoryError"):
    import torch

    return getattr(torch, name)(message)


def no_such_host():
    socket.getaddrinfo("no.such.invalid", 1)


def no_such_dataset():
    import datasets

    datasets.load_dataset("/nowhere/at/all")


def no_such_model():
    import transformers

    transformers.AutoConfig.from_pretrained("/nowhere/at/all")


def full_disk():
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def full_disk_under_torch():
    import torch

    torch.save(torch.zeros(100_000), "/dev/full")


def no_gpu():
    import torch

    torch.zeros(1, device="cuda")


def bad_lora():
    from peft import LoraConfig, get_peft_model
    from torch import nn

    get_peft_model(nn.Sequential(nn.Linear(2, 2)), LoraConfig(target_modules=["q_proj"]))


def over_tls(expires):
    with tempfile.TemporaryDirectory() as folder:
        files = certificate(Path(folder), expires=expires)
        trusting = ssl.create_default_context(cafile=str(files[0])) if expires < timedelta() else True
        with Hub({}, tls=server_context(files)) as hub:
            httpx2.head(hub.url, verify=trusting)


def tracker_error(module, name, **attributes):
    """The packages are not in this environment; tests/contract/lifecycle/test_trackers.py has the real ones."""
    return type(name, (Exception,), {"__module__": module, **attributes})("no answer")


def unknown_scheduler_argument():
    import transformers
    from torch import nn, optim

    optimizer = optim.SGD(nn.Linear(1, 1).parameters())
    transformers.get_scheduler("cosine", optimizer, 1, 10, scheduler_specific_kwargs={"cycles": 2})


CASES = {
    "gated": (lambda: http_error(403, "GatedRepoError"), exits.AccessDenied, 77),
    "gated, as transformers wraps it": (
        lambda: wrapped(http_error(401, "GatedRepoError"), OSError("You are trying to access a gated repo.")),
        exits.AccessDenied,
        77,
    ),
    "bad token": (lambda: http_error(401), exits.AccessDenied, 77),
    "no such repository, without a token": (
        lambda: http_error(401, "RepositoryNotFoundError", "RepoNotFound"),
        exits.ModelUnavailable,
        66,
    ),
    "no such repository, as the hub's client raises it": (
        lambda: answered(401, "RepoNotFound"),
        exits.ModelUnavailable,
        66,
    ),
    "no such repository, as transformers wraps it": (
        lambda: wrapped(answered(401, "RepoNotFound"), OSError("a/b is not a local folder")),
        exits.ModelUnavailable,
        66,
    ),
    "gated, as the hub's client raises it": (lambda: answered(403, "GatedRepo"), exits.AccessDenied, 77),
    "no right to write": (lambda: answered(403, path="/api/repos/create"), exits.AccessDenied, 77),
    "no such repository": (lambda: http_error(404, "RepositoryNotFoundError"), exits.ModelUnavailable, 66),
    "no such revision": (lambda: http_error(404, "RevisionNotFoundError"), exits.ModelUnavailable, 66),
    "hub down": (lambda: http_error(503), exits.Infrastructure, 69),
    "hub busy": (lambda: http_error(429), exits.Infrastructure, 69),
    "no connection": (lambda: httpx2.ConnectError("[Errno 111] Connection refused"), exits.Infrastructure, 69),
    "slow hub": (lambda: httpx2.ReadTimeout("timed out"), exits.Infrastructure, 69),
    "no name service": (lambda: raised(no_such_host), exits.Infrastructure, 69),
    "no such model folder": (lambda: raised(no_such_model), exits.ModelUnavailable, 66),
    "no such dataset folder": (lambda: raised(no_such_dataset), exits.ModelUnavailable, 66),
    "GPU memory": (lambda: torch_error("CUDA out of memory. Tried to allocate 2.00 GiB"), exits.GpuOutOfMemory, 80),
    "GPU memory of a library": (lambda: RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), exits.GpuOutOfMemory, 80),
    "GPU broken": (lambda: RuntimeError("CUDA error: an illegal memory access was encountered"), exits.DeviceError, 71),
    "no GPU": (lambda: raised(no_gpu), exits.DeviceError, 71),
    "disk full": (lambda: raised(full_disk), exits.StorageError, 74),
    "disk full, under torch": (lambda: raised(full_disk_under_torch), exits.StorageError, 74),
    "quota": (lambda: OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), exits.StorageError, 74),
    "host memory": (lambda: MemoryError(), exits.HostOutOfMemory, 137),
    "host memory, under torch": (
        lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        exits.HostOutOfMemory,
        137,
    ),
    "certificate of an unknown authority": (lambda: raised(lambda: over_tls(HOUR)), exits.UserError, 78),
    "certificate that has expired": (lambda: raised(lambda: over_tls(-HOUR)), exits.Infrastructure, 69),
    "tracker's server is away": (lambda: tracker_error("wandb.errors.errors", "CommError"), exits.Infrastructure, 69),
    "tracker's key": (lambda: tracker_error("wandb.errors.errors", "AuthenticationError"), exits.UserError, 78),
    "MLflow is away": (lambda: tracker_error("mlflow.exceptions", "MlflowException"), exits.Infrastructure, 69),
    "MLflow refuses": (
        lambda: tracker_error("mlflow.exceptions", "RestException", error_code="PERMISSION_DENIED"),
        exits.UserError,
        78,
    ),
    "adapter targets nothing": (lambda: raised(bad_lora), exits.UserError, 78),
    "a scheduler's argument that it has not": (lambda: raised(unknown_scheduler_argument), exits.UserError, 78),
    "a defect": (lambda: raised(lambda: {}["x"]), exits.Internal, 70),
    "interrupted": (lambda: KeyboardInterrupt(), exits.Preempted, 75),
    "ours": (lambda: wrapped(ValueError("column"), exits.UserError("a", "b")), exits.UserError, 78),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "code"), CASES.values(), ids=CASES)
def test_class_of(make, kind, code, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    known = classify(make())
    assert (type(known), known.exit_code) == (kind, code), known
    assert known.message
    assert known.cure or kind is exits.Preempted


def test_offline_and_not_in_the_cache_is_missing_and_not_a_network_failure(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = wrapped(LocalEntryNotFoundError("not in cache"), OSError("We couldn't connect to the hub"))
    assert classify(error).exit_code == 66


PEER = "[../third_party/gloo/gloo/transport/tcp/pair.cc:545] Connection closed by peer [127.0.0.1]:1234"


@pytest.mark.parametrize(("world", "code"), [("2", 75), ("1", 70)])
def test_a_lost_peer_is_not_our_failure(monkeypatch, world, code):
    monkeypatch.setenv("WORLD_SIZE", world)
    assert classify(RuntimeError(PEER)).exit_code == code


def test_memory_cures_are_fields_in_the_order_of_their_cost():
    cure = classify(torch_error("CUDA out of memory")).cure
    fields = [
        "gradientCheckpointing",
        "perDeviceTrainBatchSize",
        "referenceModel.strategy",
        "maxLength",
        "usePeft",
        "loadIn4bit",
    ]
    assert [cure.index(name) for name in fields] == sorted(cure.index(name) for name in fields)
