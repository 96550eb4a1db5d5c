"""The operator's replicas: real processes, each behind a proxy of its own, started again whenever they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dev.simulated.components import free_port

from .proxy import HOST, Proxy

ROOT = Path(__file__).resolve().parents[2]
LEADS = "leader_election_master_status"
RESTART_SECONDS = 1.0  # the kubelet's back-off grows to minutes; here a replica that ends is soon at it again
LOOK_SECONDS = 0.2


@dataclass
class Replica:
    """One of them. `endings`: exit codes of the processes that ended, negative for signals."""

    name: str
    folder: Path
    proxy: Proxy
    settings: Path
    namespace: str
    clock: Path
    endings: list[int] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _port: int = field(default_factory=free_port)
    _progress_port: int = field(default_factory=free_port)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def progress_url(self) -> str:
        return f"https://{HOST}:{self._progress_port}"

    def prepare(self, kubeconfig: Path, authority: Path) -> None:
        """The replica's kubeconfig: the credentials of `kubeconfig`, the proxy as the server."""
        content = json.loads(kubeconfig.read_text())
        content["clusters"][0]["cluster"] = {"server": self.proxy.url, "certificate-authority": str(authority)}
        self._kubeconfig.write_text(json.dumps(content))

    async def supervise(self) -> None:
        """Start it, and again whenever it ends; until cancelled, which kills it."""
        try:
            while True:
                self._start()
                assert self._process is not None
                while (code := self._process.poll()) is None:
                    await asyncio.sleep(LOOK_SECONDS)
                self.endings.append(code)
                await asyncio.sleep(RESTART_SECONDS)
        finally:
            self.kill()

    def leads(self) -> bool:
        """Whether it says so; False when it does not answer."""
        with suppress(OSError):
            with urllib.request.urlopen(f"http://{HOST}:{self._port}/metrics", timeout=1) as answer:
                lines = answer.read().decode().splitlines()
            return any(line.startswith(LEADS) and float(line.rpartition(" ")[2]) == 1 for line in lines)
        return False

    def ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{self._port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """As a machine does that swaps, or a virtual machine that moves."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def shift_clock(self, seconds: float) -> None:
        """Its wall clock jumps; only of a replica that runs under `skewed`."""
        self.clock.write_text(str(seconds))
        self._signal(signal.SIGUSR1)

    @property
    def _kubeconfig(self) -> Path:
        return self.folder / f"{self.name}.kubeconfig"

    def _start(self) -> None:
        program = ["tests.chaos.skewed", str(self.clock)] if self.clock.exists() else ["alignment_operator"]
        command = [sys.executable, "-m", *program, "run", f"--kubeconfig={self._kubeconfig}", f"--bind={HOST}"]
        command += [f"--namespace={self.namespace}", f"--settings={self.settings}", f"--health-port={self._port}"]
        command += [f"--progress-port={self._progress_port}", f"--progress-url={self.progress_url}"]
        environment = os.environ | {"POD_NAME": self.name}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env=environment, preexec_fn=_ignore_clock_signal
            )

    def _signal(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)


def _ignore_clock_signal() -> None:
    """A process that has just begun does not know it yet; it reads its clock's file anyway."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
