"""kubectl as the e2e tests use it: thin, loud, and always against the cluster of this checkout."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment_operator.api.constants import JOB_LABEL

ROOT = Path(__file__).resolve().parents[2]
KUBECONFIG = ROOT / ".cluster" / "kubeconfig"
BIN = ROOT / ".cluster" / "bin"


class KubectlError(AssertionError):
    """kubectl ended with an error; the text is what it said."""


def kubectl(*args: str, namespace: str | None = None, stdin: Any = None, timeout: float = 60) -> str:
    """Standard output of kubectl. `stdin`: text, or an object that is sent as JSON."""
    command = [str(BIN / "kubectl"), f"--kubeconfig={KUBECONFIG}", *(["-n", namespace] if namespace else []), *args]
    text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def items(kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    """The objects of a kind in a namespace, by label selector."""
    found: list[dict[str, Any]] = json.loads(kubectl("get", kind, "-l", selector, "-o", "json", namespace=namespace))[
        "items"
    ]
    return found


@dataclass(frozen=True)
class Job:
    """One AlignmentJob on the cluster, by name: what a user does to it and sees of it."""

    namespace: str
    name: str

    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            kubectl("get", "alignmentjob", self.name, "-o", "json", namespace=self.namespace)
        )
        return found

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.object().get("status", {})
        return status

    def condition(self, kind: str) -> dict[str, Any]:
        """The condition of this type; empty while there is none."""
        return next((c for c in self.status().get("conditions", []) if c["type"] == kind), {})

    def patch(self, **spec: Any) -> None:
        kubectl(
            "patch",
            "alignmentjob",
            self.name,
            "--type=merge",
            "-p",
            json.dumps({"spec": spec}),
            namespace=self.namespace,
        )

    def delete(self) -> None:
        kubectl("delete", "alignmentjob", self.name, "--ignore-not-found", "--wait=true", namespace=self.namespace)

    def pods(self) -> list[dict[str, Any]]:
        return items("pods", self.namespace, f"{JOB_LABEL}={self.name}")

    def logs(self) -> str:
        """Logs of every pod there is, for the message of a failed test."""
        texts = []
        for pod in self.pods():
            name = pod["metadata"]["name"]
            try:
                texts.append(f"--- {name}\n" + kubectl("logs", name, "--tail=60", namespace=self.namespace))
            except KubectlError as error:
                texts.append(f"--- {name}: {error}")
        return "\n".join(texts)

    def wait(self, what: str, met: Callable[[dict[str, Any]], Any], timeout: float = 240) -> dict[str, Any]:
        """The status once `met(status)` holds. Fails at once when the job has ended otherwise, and shows why."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.status()
            if met(status):
                return status
            ended = status.get("phase") in ("Complete", "Failed")
            if ended or time.monotonic() > deadline:
                shown = json.dumps(status, indent=1)
                raise AssertionError(
                    f"{self.name}: no {what} {'since it ended' if ended else 'in time'}: {shown}\n{self.logs()}"
                )
            time.sleep(0.5)

    def complete(self, timeout: float = 240) -> dict[str, Any]:
        return self.wait("completion", lambda s: s.get("phase") == "Complete", timeout)

    def failed(self, timeout: float = 240) -> dict[str, Any]:
        return self.wait("failure", lambda s: s.get("phase") == "Failed", timeout)
