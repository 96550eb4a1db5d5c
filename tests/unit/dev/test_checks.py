"""The runner of `make test`: every check runs, and a failure is told at the end."""

import re
import threading
from pathlib import Path

import pytest

from dev import checks
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
    run = Run(lanes=(("no-such-target", "help"),))
    run.lane(*run.lanes)
    assert run.failed == ["no-such-target"]
    assert list(run.seconds) == ["no-such-target", "help"]
    out = capsys.readouterr().out
    assert re.search(r"^no-such-target \| .*No rule", out, re.MULTILINE)
    assert re.search(r"^help        \|   demo ", out, re.MULTILINE)


def test_a_check_waits_for_the_one_that_builds_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def passes(_: Run, check: str) -> int:
        begun.append(check)
        return 0

    monkeypatch.setattr(checks, "AFTER", {"unit": "verify"})
    monkeypatch.setattr(Run, "_check", passes)
    run = Run(lanes=(("unit",), ("lint", "verify")))
    waiting = threading.Thread(target=run.lane, args=(run.lanes[0],))
    waiting.start()
    run.lane(run.lanes[1])
    waiting.join(10)
    assert begun == ["lint", "verify", "unit"]


def test_the_last_lines_name_the_tests_that_failed_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = ["collected 2 items", "E   assert 1 == 2", "FAILED tests/e2e/test_gpu.py::test_two - assert 1 == 2"]
    (tmp_path / "said").write_text("\n".join([*lines, ""]))
    (tmp_path / "Makefile").write_text("e2e:\n\t@cat said; exit 1\nlint:\n\t@echo FAILED is only a word here\n")
    monkeypatch.chdir(tmp_path)
    run = Run(lanes=(("e2e", "lint"),))
    run.lane(run.lanes[0])
    capsys.readouterr()
    told = "\n".join(checks.verdict(run, 3.0))
    assert told.endswith(
        f"\n\ne2e FAILED:\n  {lines[1]}\n  {lines[2]}\n\nThe cluster is still up: `make down` removes it."
    )
    assert "collected" not in told
    assert "lint FAILED" not in told
