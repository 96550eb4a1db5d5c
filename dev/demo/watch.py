"""One line that follows an AlignmentJob until it ends."""

import sys
import time
from typing import Any

from dev.cluster.report import ClusterError, say

from .kubectl import get
from .manifests import NAMESPACE

ENDED = ("Complete", "Failed")
WIDTH = 110


def follow(name: str, rerun: str, seconds: float) -> dict[str, Any]:
    """Prints progress until the job's run for `rerun` has ended; returns its status.

    Raises:
        ClusterError: it failed, with the failure's class, message and cure, or did not end in time.
    """
    deadline = time.monotonic() + seconds
    shown = ""
    while time.monotonic() < deadline:
        status = (get(NAMESPACE, "alignmentjob", name) or {}).get("status", {})
        current = line(status)
        if current != shown:
            _show(current)
            shown = current
        if status.get("phase") in ENDED and status.get("rerun", "") == rerun:
            _end()
            return _succeeded(status)
        time.sleep(1)
    _end()
    raise ClusterError(f"{name} did not end within {seconds:.0f} s; its last status: {shown}")


def line(status: dict[str, Any]) -> str:
    """Phase, step, loss, reward margin and remaining time, as far as they are known."""
    progress = status.get("progress") or {}
    metrics = {metric["name"]: metric["value"] for metric in status.get("metrics") or []}
    parts = [status.get("phase") or "Pending"]
    if progress.get("phase") and progress["phase"] != parts[0]:
        parts.append(progress["phase"])
    if progress.get("totalSteps"):
        parts.append(f"step {progress.get('step', 0)}/{progress['totalSteps']}")
    for metric, label in (("loss", "loss"), ("rewards/margins", "reward margin")):
        if metric in metrics:
            parts.append(f"{label} {float(metrics[metric]):.4f}")
    if progress.get("estimatedRemainingSeconds"):
        parts.append(f"{progress['estimatedRemainingSeconds']} s left")
    return "  ".join(parts)


def _succeeded(status: dict[str, Any]) -> dict[str, Any]:
    if status["phase"] == "Complete":
        return status
    failure = status.get("failure") or {}
    words = (failure.get(key) for key in ("class", "message", "cure"))
    raise ClusterError("the job failed: " + " - ".join(str(word) for word in words if word))


def _show(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r         {text[:WIDTH]:<{WIDTH}}", end="", flush=True)
    else:
        say(f"         {text}")


def _end() -> None:
    if sys.stdout.isatty():
        print(flush=True)
