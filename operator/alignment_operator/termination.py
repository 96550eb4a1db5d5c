"""The termination message: what the trainer said last (docs/contract/termination.schema.json)."""

from __future__ import annotations

import json
from typing import Any

from .views import PodView

CONTRACT_VERSION = 1
SUCCESS = ("Complete", "StoppedEarly", "AlreadyComplete")
LOG_LINE = 500  # characters of a log's last line that stand in for a message


def message_of(pod: PodView | None) -> dict[str, Any] | None:
    """The parsed message, or None: another image, a process that died without a word, a version we do not speak."""
    if pod is None or pod.terminated is None:
        return None
    try:
        message = json.loads(pod.terminated.message)
    except ValueError:
        return None
    known = isinstance(message, dict) and message.get("contractVersion") == CONTRACT_VERSION
    return message if known and isinstance(message.get("message"), str) else None


def last_words(pod: PodView) -> str:
    """The last line of the log, which Kubernetes gives when a process wrote no message; empty for none."""
    text = pod.terminated.message if pod.terminated else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:LOG_LINE] if lines and not text.lstrip().startswith("{") else ""
