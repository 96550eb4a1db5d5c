"""The alert rules: Prometheus' own promtool reads them, and plays each one through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, find, render, run, tool

RULES = CHART / "files" / "alerts.yaml"
TESTS = Path(__file__).with_name("alerts.yaml")
ENABLED = "--set=metrics.prometheusRule.enabled=true"


def rendered(*args: str) -> dict[str, Any]:
    """The spec of the PrometheusRule."""
    spec: dict[str, Any] = find(render(ENABLED, *args), "PrometheusRule")["spec"]
    return spec


def alerts(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for group in groups for rule in group["rules"]]


def test_promtool_takes_the_rules_as_the_chart_renders_them(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rendered()))
    said = run(tool("promtool"), "check", "rules", "--lint-fatal", str(file)).stdout
    assert f"{len(alerts(yaml.safe_load(RULES.read_text())['groups']))} rules found" in said


def test_every_alert_fires_and_is_quiet_when_it_should(tmp_path: Path) -> None:
    said = run(tool("promtool"), "test", "rules", str(TESTS), check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts(rendered()["groups"])}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_promtool_fails_a_rule_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES.read_text().replace("> 0.1", "> 0.5"))
    tests = tmp_path / "tests.yaml"
    tests.write_text(TESTS.read_text().replace("../../charts/alignment-operator/files/alerts.yaml", "rules.yaml"))
    assert run(tool("promtool"), "test", "rules", str(tests), check=False).returncode != 0


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for rule in alerts(rendered()["groups"]):
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert not rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_the_leader_is_that_of_the_release() -> None:
    [rule] = [r for r in alerts(rendered("--set=fullnameOverride=ours")["groups"]) if "leader_election" in r["expr"]]
    assert 'name="ours"' in rule["expr"]


@pytest.mark.parametrize("kind", ["PrometheusRule", "ServiceMonitor"])
def test_nothing_of_the_prometheus_operator_is_there_unless_asked_for(kind: str) -> None:
    assert all(obj["kind"] != kind for obj in render())
