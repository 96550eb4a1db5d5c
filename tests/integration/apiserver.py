"""A real etcd and kube-apiserver on free loopback ports, for tests: no node, no controllers, 4 seconds to start."""

import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ALIGNMENT_CLUSTER_BIN", ROOT / ".cluster/bin"))
START_SECONDS = 60


@dataclass(frozen=True)
class ApiServer:
    """Where the server is and how to be its administrator."""

    url: str
    token: str = field(repr=False)
    ca_cert: Path
    kubeconfig: Path
    etcd: str = ""  # URL of its store

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess:
        """Run kubectl as the administrator; raises AssertionError with its output, unless `check` is off."""
        command = [str(BIN / "kubectl"), f"--kubeconfig={self.kubeconfig}", *args]
        result = subprocess.run(command, input=input, capture_output=True, text=True)
        if check and result.returncode:
            raise AssertionError(f"{' '.join(args)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def process(
    name: str, folder: Path, *args: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """Run a program of `.cluster/bin` until the block ends; what it says goes to NAME.log in `folder`.

    `environment`: variables beside those of this process.
    """
    command, variables = [str(BIN / name), *args], os.environ | (environment or {})
    log = (folder / f"{name}.log").open("wb")
    running = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        log.close()


def _service_account_key(folder: Path) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = folder / "sa.key"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def _wait_ready(server: ApiServer, running: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running.poll() is not None:
            raise RuntimeError(f"kube-apiserver ended: {log.read_text()[-2000:]}")
        try:
            context = ssl.create_default_context(cafile=str(server.ca_cert))
            request = urllib.request.Request(
                server.url + "/readyz", headers={"Authorization": f"Bearer {server.token}"}
            )
            with urllib.request.urlopen(request, context=context, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise RuntimeError(f"kube-apiserver was not ready in {START_SECONDS} s: {log.read_text()[-2000:]}")


def _kubeconfig(server: ApiServer) -> None:
    server.kubeconfig.write_text(
        f"""apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{server.url}", certificate-authority: "{server.ca_cert}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
users: [{{name: admin, user: {{token: "{server.token}"}}}}]
"""
    )


@contextmanager
def api_server(folder: Path, *extra_args: str) -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver with their state in `folder`; both are ended when the block ends."""
    token, sa_key = secrets.token_hex(16), _service_account_key(folder)
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{token},admin,admin,system:masters\n")
    client, peer, port = free_port(), free_port(), free_port()
    store, certificate = f"http://127.0.0.1:{client}", folder / "certs/apiserver.crt"
    server = ApiServer(f"https://127.0.0.1:{port}", token, certificate, folder / "kubeconfig", store)
    etcd_args = [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]
    args = [
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={tokens}",
        f"--service-account-key-file={sa_key}",
        f"--service-account-signing-key-file={sa_key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--api-audiences=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--service-cluster-ip-range=10.89.0.0/24",
        "--endpoint-reconciler-type=none",
        # No controller makes the default service account here; pods of these tests never run.
        "--disable-admission-plugins=ServiceAccount",
        *extra_args,
    ]
    with process("etcd", folder, *etcd_args), process("kube-apiserver", folder, *args) as running:
        _wait_ready(server, running, folder / "kube-apiserver.log")
        _kubeconfig(server)
        yield server
