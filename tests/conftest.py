"""What a test that was tried again failed with the first time: pytest alone names it, without a reason."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"{report.nodeid}: tried again after")
        terminalreporter.write_line(report.longreprtext)
