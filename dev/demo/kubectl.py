"""kubectl and helm of this clone's cluster."""

import json
import subprocess
from typing import IO, Any

from dev.cluster.layout import here
from dev.cluster.report import ClusterError


def kubectl(*arguments: str, stdin: str | None = None, pipe: IO[bytes] | None = None) -> str:
    """Standard output of kubectl.

    Args:
        stdin: text for `-f -`.
        pipe: instead, a stream of bytes for the command that `exec -i` runs.

    Raises:
        ClusterError: with what kubectl said.
    """
    command = [str(here().bin / "kubectl"), f"--kubeconfig={here().kubeconfig}", *arguments]
    if pipe is not None:
        done = subprocess.run(command, stdin=pipe, capture_output=True)
    else:
        done = subprocess.run(command, input=(stdin or "").encode(), capture_output=True)
    return _output(done)


def helm(*arguments: str) -> str:
    """Standard output of helm; raises as kubectl() does."""
    command = [str(here().bin / "helm"), f"--kubeconfig={here().kubeconfig}", *arguments]
    return _output(subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True))


def apply(namespace: str, *objects: dict[str, Any]) -> None:
    """Applies objects given as Python data."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("-n", namespace, "apply", "-f", "-", stdin=text)


def get(namespace: str, kind: str, name: str) -> dict[str, Any] | None:
    """One object, or None."""
    text = kubectl("-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text.strip() else None


def _output(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode != 0:
        words = [str(part) for part in done.args if not str(part).startswith("--kubeconfig")]
        raise ClusterError(f"{' '.join(words)} failed:\n{done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()
