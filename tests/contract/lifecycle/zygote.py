"""Trainer processes without their imports: forks of a process that has imported what they import, once.

Seven CPU seconds of every worker go into importing torch, transformers and TRL, and the contract tests start dozens. A
fork is a process of its own in all that a test looks at (pid, parent, signals, environment, output, exit code) and runs
the same modules as `__main__`. What it cannot show, how a process behaves before and during its imports, and that the
launcher makes none of them, is shown by cold starts (pods.cold_start).

A zygote has one thread and no file open when it forks (checked): nothing else survives a fork in order.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import site
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

_PR_SET_CHILD_SUBREAPER = 36
# Nothing here reads HF_* while it is imported: whoever has another hub starts from this stage.
LIBRARIES = ("torch.distributed.fsdp", "torch.utils.data", "pandas", "pyarrow.parquet", "pydantic", "yaml")
TRAINER = (
    "accelerate",
    "datasets",
    "peft",
    "transformers.trainer",
    "transformers.models.llama.modeling_llama",
    "trl.trainer.dpo_trainer",
    "alignment_trainer.fast.optimized",
    "alignment_trainer.launch",
    "alignment_trainer.memory.check",
    "alignment_trainer.models",
    "alignment_trainer.precompute",
    "alignment_trainer.train",
    "alignment_trainer.trainers",
)
# What libraries read while they are imported, as the launcher gives it to workers and the tests to launchers.
ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "TQDM_DISABLE": "1",
}
_FORK_SAFE_THREADS = {"jemalloc_bg_thd"}  # in pyarrow: it stops for a fork by itself (pthread_atfork)
# HF_HOME as well, but what runs offline on folders uses it only where the trainer reads it itself, as it runs.
_READ_BY_IMPORTS = ("HF_ENDPOINT", "HF_HUB_OFFLINE")


class Adopted:
    """What tests use of subprocess.Popen, for a process that this one has adopted or forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout or float("inf"))
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)


class Zygote:
    """The tests' end: `start` is a pod's start (pods.Start). The processes become children of the caller's process.

    more: modules that they have imported as well; python_path: a folder in which these lie.
    """

    def __init__(self, *more: str, python_path: str = "") -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._libraries, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        path = os.pathsep.join(filter(None, (python_path, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
        self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._trainer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ask(self._libraries, {"stage": [*more, *TRAINER]}, theirs.fileno())
        theirs.close()

    def start(self, module: str, environment: Mapping[str, str], output: IO[bytes]) -> Adopted:
        """Run `module` as `python -m` would, stdout and stderr into `output`."""
        usual = all(environment.get(name) == ENVIRONMENT.get(name) for name in _READ_BY_IMPORTS)
        connection = self._trainer if usual else self._libraries
        return Adopted(self._ask(connection, {"module": module, "environment": dict(environment)}, output.fileno()))

    def close(self) -> None:
        for connection in (self._trainer, self._libraries):
            connection.close()
        self._process.wait(60)

    def _ask(self, connection: socket.socket, request: dict[str, Any], fd: int) -> int:
        socket.send_fds(connection, [json.dumps(request).encode()], [fd])
        answer = connection.recv(64)
        if not answer:
            raise RuntimeError("The zygote has ended; what it said last is in the test's output.")
        return int(answer)


def _serve(connection: socket.socket) -> NoReturn:
    """Fork for every request until the connection ends."""
    _assert_fit_to_fork(connection)
    gc.collect()
    gc.freeze()  # a collection would copy the pages that forks share
    while True:
        data, fds, _, _ = socket.recv_fds(connection, 1 << 18, 1)
        if not data:
            os._exit(0)
        pid = _fork_for_adoption(connection, json.loads(data), fds[0])
        os.close(fds[0])
        connection.send(str(pid).encode())


def _fork_for_adoption(connection: socket.socket, request: dict[str, Any], fd: int) -> int:
    """Forked twice, so that the test's process, the nearest reaper, becomes the parent. Returns the pid."""
    read, write = os.pipe()
    if between := os.fork():
        os.close(write)
        os.waitpid(between, 0)
        with os.fdopen(read) as answer:
            return int(answer.read())
    if child := os.fork():
        os.write(write, str(child).encode())
        os._exit(0)
    connection.close()
    if "module" in request:
        _become(request["module"], request["environment"], fd)
    _close_all_but(fd)
    _import_trainer(request["stage"])
    _serve(socket.socket(fileno=fd))


def _import_trainer(names: Iterable[str]) -> None:
    """As worker.py does it: bitsandbytes is imported only when it is used."""
    from alignment_trainer import imports

    imports.defer(imports.BITSANDBYTES)
    for name in names:
        importlib.import_module(name)
    imports.spare_peft_bitsandbytes()


def _assert_fit_to_fork(connection: socket.socket) -> None:
    threads = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
    threads.remove(Path("/proc/self/comm").read_text().strip())
    assert set(threads) <= _FORK_SAFE_THREADS, f"an import has started threads: {threads}"
    others = (fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and int(fd) != connection.fileno())
    files = [os.readlink(link) for link in (f"/proc/self/fd/{fd}" for fd in others) if os.path.lexists(link)]
    assert not files, f"an import keeps files open: {files}"


def _become(module: str, environment: Mapping[str, str], output: int, keep: Iterable[int] = ()) -> NoReturn:
    """Be `python -m module`, from the interpreter's start to its end."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    _close_all_but(*keep)
    os.environ.clear()
    os.environ.update(environment)
    _customize(environment.get("PYTHONPATH", ""))
    sys.argv = [module]
    if module == "alignment_trainer":
        _fork_workers()
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    _end(code if isinstance(code, int) else 0 if code is None else 1)


def _end(code: int) -> NoReturn:
    vars(threading)["_shutdown"]()  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _customize(python_path: str) -> None:
    """A test's sitecustomize.py stands for what cannot be had here (a GPU that is full)."""
    sys.path[:0] = [folder for folder in python_path.split(os.pathsep) if folder and folder not in sys.path]
    sys.modules.pop("sitecustomize", None)
    site.execsitecustomize()


def _fork_workers() -> None:
    """In a launcher: its workers are forks of it, where it would start Python anew."""
    from alignment_trainer import processes

    vars(processes)["subprocess"] = types.SimpleNamespace(**{**vars(subprocess), "Popen": _ForkedWorker})


class _ForkedWorker(Adopted):
    """Takes the place of the Popen in processes.Workers.start: `stdout` is a pipe that has stderr as well."""

    def __init__(self, command: list[str], env: Mapping[str, str], pass_fds: list[int], **_: Any) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become(command[-1], env, write, keep=pass_fds)
        os.close(write)
        self.stdout = os.fdopen(read, "rb", buffering=0)
        super().__init__(pid)


def _close_all_but(*keep: int) -> None:
    first = 3
    for fd in sorted({*keep, 1 << 20}):
        os.closerange(first, fd)
        first = fd + 1


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    _serve(socket.socket(fileno=int(sys.argv[1])))
