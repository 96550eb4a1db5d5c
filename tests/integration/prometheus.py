"""A real Prometheus that scrapes what a test tells it to, every second."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.simulated.processes import end
from tests.integration.apiserver import ROOT, free_port

ALERTS = ROOT / "charts/alignment-operator/files/alerts.yaml"
START_SECONDS = 30
Sample = dict[str, Any]


@dataclass(frozen=True)
class Prometheus:
    """Its HTTP API, as Grafana uses it."""

    port: int
    targets: Path

    def scrape(self, *ports: int) -> None:
        """Scrape these ports of this machine from now on, and no others."""
        self.targets.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}" for port in ports]}]))

    def api(self, path: str, **parameters: Any) -> Any:
        """`data` of an answer. Raises AssertionError with what Prometheus said against the query."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression: str, ahead: float = 0) -> list[Sample]:
        """The instant vector, as it will be in so many seconds if nothing more comes."""
        found: list[Sample] = self.api("query", query=expression, time=time.time() + ahead)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The value of the one series that the expression gives; None: of none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def until(self, expression: str, value: float | None, seconds: float = 30) -> None:
        """Wait for a value; None: for there being no series."""
        deadline = time.monotonic() + seconds
        while (now := self.value(expression)) != value:
            assert time.monotonic() < deadline, f"{expression}: {now}, not {value}"
            time.sleep(0.2)


def _configuration(folder: Path) -> Path:
    file = folder / "prometheus.yaml"
    discovery = {"files": [str(folder / "targets.json")], "refresh_interval": "1s"}
    # the ServiceMonitor of the chart has honorLabels too
    job = {"job_name": "alignment-operator", "honor_labels": True, "file_sd_configs": [discovery]}
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    file.write_text(yaml.safe_dump({"global": every, "scrape_configs": [job], "rule_files": [str(ALERTS)]}))
    return file


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Run Debian's Prometheus with the chart's alert rules; it is ended with the block."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("no Prometheus: run `python3 -m dev.cluster install prometheus`")
    server = Prometheus(free_port(), folder / "targets.json")
    server.scrape()
    arguments = [f"--config.file={_configuration(folder)}", f"--storage.tsdb.path={folder / 'data'}"]
    arguments += [f"--web.listen-address=127.0.0.1:{server.port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        _wait_ready(server, process, folder / "prometheus.log")
        yield server
    finally:
        end(process)


def _wait_ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus is not ready: {log.read_text()[-2000:]}")
