"""A real etcd and kube-apiserver on free loopback ports, for tests: no node, no controllers, 4 seconds to start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dev.simulated import components
from dev.simulated.cluster import BIN as BIN
from dev.simulated.cluster import ready
from dev.simulated.components import LOOPBACK, Layout, Ports
from dev.simulated.components import free_port as free_port
from dev.simulated.credentials import ADMINISTRATOR, Credentials
from dev.simulated.processes import Process, running

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
# No controller makes the default service account here; pods of these tests never run.
FLAGS = {"disable-admission-plugins": "ServiceAccount"}


@dataclass(frozen=True)
class ApiServer:
    """Where the server is and how to be its administrator."""

    url: str
    token: str = field(repr=False)
    ca_cert: Path
    kubeconfig: Path
    etcd: str = ""  # URL of its store

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator; raises AssertionError with its output, unless `check` is off."""
        command = [str(BIN / "kubectl"), f"--kubeconfig={self.kubeconfig}", *args]
        result = subprocess.run(command, input=input, capture_output=True, text=True)
        if check and result.returncode:
            raise AssertionError(f"{' '.join(args)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result


def process(
    name: str, folder: Path, *args: str, environment: dict[str, str] | None = None
) -> AbstractContextManager[Process]:
    """Run a program of `.cluster/bin` until the block ends; what it says goes to NAME.log in `folder`.

    `environment`: variables beside those of this process.
    """
    return running(name, [str(BIN / name), *args], folder / f"{name}.log", environment)


@contextmanager
def api_server(folder: Path, *extra_args: str) -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver with their state in `folder`; both are ended when the block ends."""
    ports = Ports()
    credentials = Credentials(folder, f"https://{LOOPBACK}:{ports.api}")
    credentials.make()
    layout = Layout(BIN, folder, ports, credentials)
    commands = components.etcd(layout), [*components.api_server(layout, FLAGS), *extra_args]
    with (
        running("etcd", commands[0], folder / "etcd.log"),
        running("kube-apiserver", commands[1], folder / "kube-apiserver.log") as server,
    ):
        _wait_ready(credentials, server)
        yield ApiServer(
            credentials.url,
            credentials.token_of(ADMINISTRATOR),
            credentials.authority,
            credentials.kubeconfig_of(ADMINISTRATOR),
            f"http://{LOOPBACK}:{ports.etcd}",
        )


def _wait_ready(credentials: Credentials, server: Process) -> None:
    """Raises ClusterError with what it said when it has ended, RuntimeError when it takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while server.pid and not ready(credentials):
        if time.monotonic() > deadline:
            raise RuntimeError(f"kube-apiserver was not ready in {START_SECONDS} s: {server.tail()}")
        time.sleep(0.2)
