"""The runner of `make test`: every check runs, and a failure is told at the end."""

import re
from pathlib import Path

import pytest

from dev.checks import LANES, Run

MAKEFILE = (Path(__file__).parents[3] / "Makefile").read_text()


def test_every_check_is_a_target_of_the_makefile_once() -> None:
    checks = [check for lane in LANES for check in lane]
    assert len(checks) == len(set(checks))
    assert all(re.search(rf"^{check}:", MAKEFILE, re.MULTILINE) for check in checks)


def test_a_failed_check_does_not_keep_the_next_one_from_running(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    run = Run()
    run.lane(("no-such-target", "help"))
    assert run.failed == ["no-such-target"]
    assert list(run.seconds) == ["no-such-target", "help"]
    out = capsys.readouterr().out
    assert re.search(r"^no-such-target \| .*No rule", out, re.MULTILINE)
    assert re.search(r"^help        \|   demo ", out, re.MULTILINE)
