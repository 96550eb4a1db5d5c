"""The termination message: the last thing that a pod writes (docs/contract/termination.schema.json)."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from .exits import TrainerError

LIMIT_BYTES = 4096  # the kubelet cuts what is longer, and half a JSON object is none
CONTRACT_VERSION = 1
RESULT = "result.json"


def failed(error: TrainerError, attempt: int, **facts: Any) -> dict[str, Any]:
    """Message of an attempt that ended with `error`."""
    outcome = "Preempted" if error.class_name == "Preempted" else "Failed"
    message = {"outcome": outcome, "class": error.class_name, "exitCode": error.exit_code, "message": error.message}
    if error.cure:
        message["cure"] = error.cure
    return {"contractVersion": CONTRACT_VERSION, **message, "attempt": attempt, **facts}


def finite_numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that JSON can carry: numbers, not NaN, not infinite; 6 significant digits."""
    numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}
    return {name: float(f"{value:.6g}") for name, value in numbers.items()}


def encode(message: dict[str, Any]) -> bytes:
    """JSON of at most 4096 bytes: what matters least goes first."""
    message = {key: value for key, value in message.items() if value is not None}
    message["message"] = " ".join(str(message["message"]).split())
    for key, limit in (("message", 4096), ("findings", 0), ("metrics", 0), ("previousAttempt", 0), ("message", 1000)):
        text = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
        if len(text) <= LIMIT_BYTES:
            return text
        _shrink(message, key, limit, len(text) - LIMIT_BYTES)
    _shrink(message, "cure", 1000, 0)
    return json.dumps(message, allow_nan=False).encode()[:LIMIT_BYTES]


def _shrink(message: dict[str, Any], key: str, limit: int, excess: int) -> None:
    value = message.get(key)
    if isinstance(value, str):
        message[key] = cut(value, min(limit, max(300, len(value) - excess)))
    elif isinstance(value, dict) and key == "metrics":
        for name in reversed(list(value)):  # the first ones are loss and rewards
            excess -= len(json.dumps({name: value.pop(name)}).encode())
            if excess <= 0:
                break
    else:
        message.pop(key, None)


def cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8: beginning and end of a long sentence, for the reason often stands at the end."""
    data = text.encode()
    if len(data) <= limit:
        return text
    half = (limit - 5) // 2
    return data[:half].decode(errors="ignore") + " ... " + data[-half:].decode(errors="ignore")


def write(message: dict[str, Any]) -> None:
    """Write the message where the kubelet (or ALIGNMENT_TERMINATION_LOG) looks for it, in place: it is a bind mount."""
    path = os.environ.get("ALIGNMENT_TERMINATION_LOG") or "/dev/termination-log"
    data = encode(message)
    print(f"[alignment] {data.decode()}", file=sys.stderr, flush=True)
    if path == "/dev/termination-log" and not os.path.exists(path):
        return  # not in a pod
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        print(f"[alignment] The termination message cannot be written to {path}: {error}", file=sys.stderr, flush=True)


def read_result(folder: str | Path) -> dict[str, Any] | None:
    """Termination message of the run that was completed in this folder; None if there is none (or half of one)."""
    try:
        result = json.loads((Path(folder) / RESULT).read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and "outcome" in result else None


def already_complete(result: dict[str, Any]) -> dict[str, Any]:
    """What an attempt returns that finds the run complete."""
    message = f"{result.get('message', '')} The run was already complete.".strip()  # what to do, the operator says
    return {**result, "outcome": "AlreadyComplete", "exitCode": 0, "message": message}
