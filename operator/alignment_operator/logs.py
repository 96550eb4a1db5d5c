"""Log lines: time, level, logger, message, the key of the job that it is about, and whatever was passed as `extra`.

As JSON, one object a line, for machines; as text for people at a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# What every LogRecord has; anything else on it came from `extra`. taskName is asyncio's.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KOPF = {"settings", "k8s_ref", "k8s_skip"}  # kopf's own luggage
_JOB: ContextVar[str | None] = ContextVar("job", default=None)


@contextmanager
def about(key: Sequence[str]) -> Iterator[None]:
    """Every line that is logged inside has `job`: NAMESPACE/NAME of the AlignmentJob, whoever logs it."""
    token = _JOB.set("/".join(key))
    try:
        yield
    finally:
        _JOB.reset(token)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The record as JSON data, the job's key before what is passed along."""
    job = getattr(record, "job", None) or _JOB.get() or _of_kopf(record)
    line = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    line |= {"job": job} if job else {}
    return line | {k: v for k, v in vars(record).items() if k not in _STANDARD and k not in _KOPF and k != "job"}


def _of_kopf(record: logging.LogRecord) -> str | None:
    """kopf says by itself which object a line is about."""
    about = getattr(record, "k8s_ref", None) or {}
    if about.get("kind") != "AlignmentJob":
        return None
    return f"{about.get('namespace')}/{about.get('name')}"


class JsonFormatter(logging.Formatter):
    """LogRecord -> JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = fields(record)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """LogRecord -> `TIME LEVEL LOGGER: MESSAGE  key=value ...`, and a traceback on the lines after it."""

    def format(self, record: logging.LogRecord) -> str:
        line = fields(record)
        head = f"{line.pop('time')} {line.pop('level').upper():<7} {line.pop('logger')}: {line.pop('message')}"
        text = "  ".join([head, " ".join(f"{key}={value}" for key, value in line.items())]).rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


FORMATS: dict[str, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


def configure(level: str, form: str = "json") -> None:
    """Send everything from `level` up to standard error; `form` is a key of FORMATS."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATS[form]())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
