"""Long-running host processes: started detached, recorded with start time, stopped only if the record still fits."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .layout import RECORDS
from .report import ClusterError


@dataclass(frozen=True)
class Daemon:
    """One process of the cluster; its output goes to `LOG/NAME.log`."""

    name: str
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()  # files whose change needs a restart

    def fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps([self.argv, self.environment]).encode())
        for path in self.reads:
            digest.update(path.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Record:
    """A started process. The kernel reuses pids; with the start time (in clock ticks) one is unique until reboot."""

    pid: int
    started: int
    fingerprint: str
    boot: str


def start(daemon: Daemon, logs: Path) -> bool:
    """Starts the daemon unless it runs with these very arguments and files; returns whether it was started."""
    record = _read(RECORDS / f"{daemon.name}.json")
    if record and alive(record):
        if record.fingerprint == daemon.fingerprint():
            return False
        stop(daemon.name)
    RECORDS.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    with open(logs / f"{daemon.name}.log", "ab") as log:
        child = subprocess.Popen(
            daemon.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | daemon.environment,
            cwd="/",
            start_new_session=True,
        )
    record = Record(child.pid, _start_time(child.pid) or 0, daemon.fingerprint(), _boot())
    (RECORDS / f"{daemon.name}.json").write_text(json.dumps(record.__dict__))
    return True


def stop(name: str, grace: float = 10.0) -> bool:
    """SIGTERM, then SIGKILL after `grace` seconds; returns whether there was anything to stop."""
    path = RECORDS / f"{name}.json"
    record = _read(path)
    running = record is not None and alive(record)
    if record is not None and running:
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, number)
            if _gone(record, seconds):
                break
    path.unlink(missing_ok=True)
    return running


def started_at(name: str) -> datetime:
    """When the daemon was started, to the second below."""
    return datetime.fromtimestamp(int((RECORDS / f"{name}.json").stat().st_mtime), UTC)


def is_running(name: str) -> bool:
    record = _read(RECORDS / f"{name}.json")
    return record is not None and alive(record)


def check_alive(name: str, logs: Path) -> None:
    """Raises ClusterError with the end of its log when the daemon has died."""
    if is_running(name):
        return
    lines = (logs / f"{name}.log").read_text(errors="replace").splitlines()[-15:]
    raise ClusterError(f"{name} died; the end of {logs / name}.log:\n" + "\n".join(lines))


def answers(url: str) -> bool:
    """Whether a server on this machine says 200, past any proxy of the environment."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def alive(record: Record) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # a zombie of ours would look alive
    return record.boot == _boot() and _start_time(record.pid) == record.started


def _gone(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
