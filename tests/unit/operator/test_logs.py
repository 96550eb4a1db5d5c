"""Log lines: every one that is about a job has its key, in both forms."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from alignment_operator import logs


class _Kept(logging.Handler):
    """Keeps what its formatter makes."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logs.FORMATS[form]())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(params=["json", "text"])
def kept(request: pytest.FixtureRequest) -> Iterator[_Kept]:
    handler, root = _Kept(request.param), logging.getLogger("under.test")
    root.addHandler(handler)
    root.propagate, root.level = False, logging.DEBUG
    yield handler
    root.removeHandler(handler)


def _job(line: str) -> Any:
    """The job's key in a line of either form."""
    if line.startswith("{"):
        return json.loads(line).get("job")
    return next((word.removeprefix("job=") for word in line.split() if word.startswith("job=")), None)


def test_what_is_logged_about_a_job_has_its_key_whoever_logs_it(kept: _Kept) -> None:
    log = logging.getLogger("under.test.deep")
    log.warning("before")
    with logs.about(("team-a", "demo")):
        log.warning("inside")
    log.warning("after")
    log.warning("its own", extra={"job": "team-b/other", "run": 2})
    assert [_job(line) for line in kept.lines] == [None, "team-a/demo", None, "team-b/other"]


async def test_workers_side_by_side_do_not_mix_their_keys(kept: _Kept) -> None:
    async def work(name: str) -> None:
        with logs.about(("team-a", name)):
            for _ in range(3):
                await asyncio.sleep(0)
                logging.getLogger("under.test").info(name)

    await asyncio.gather(work("one"), work("two"))
    assert all(f"team-a/{name}" == _job(line) for line in kept.lines for name in ("one", "two") if f"{name}" in line)
    assert len(kept.lines) == 6


def test_what_kopf_says_about_an_alignment_job_has_its_key(kept: _Kept) -> None:
    reference = {"kind": "AlignmentJob", "namespace": "team-a", "name": "demo", "uid": "1"}
    logging.getLogger("under.test").warning("from kopf", extra={"k8s_ref": reference, "settings": object()})
    assert _job(kept.lines[0]) == "team-a/demo"
    assert "k8s_ref" not in kept.lines[0]


def test_json_holds_time_level_logger_message_extra_and_error() -> None:
    record = logging.LogRecord("a.b", logging.ERROR, "f", 1, "failed after %d s", (3,), None)
    record.__dict__ |= {"run": 2, "uid": "x"}
    line = json.loads(logs.JsonFormatter().format(record))
    assert {name: line[name] for name in ("level", "logger", "message", "run", "uid")} == {
        "level": "error",
        "logger": "a.b",
        "message": "failed after 3 s",
        "run": 2,
        "uid": "x",
    }
    assert line["time"].endswith("+00:00")


def test_a_traceback_stays_within_its_line_as_json_and_follows_it_as_text(kept: _Kept) -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        logging.getLogger("under.test").exception("reconcile failed")
    [text] = kept.lines
    assert "ValueError: no such thing" in text
    assert ("\n" in text) == (not text.startswith("{"))
