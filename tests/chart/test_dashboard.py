"""The dashboard is one that Grafana imports: its queries are tried against Prometheus in tests/integration."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

from tests.chart.conftest import find, render

NAME = "alignment-operator-dashboard"
COLUMNS = 24


def dashboard() -> dict[str, Any]:
    """As the ConfigMap of the rendered chart has it."""
    made = find(render("--set=metrics.dashboard.enabled=true"), "ConfigMap", NAME)
    found: dict[str, Any] = json.loads(made["data"]["alignment-operator.json"])
    return found


def test_panels_lie_beside_each_other() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    assert all(p["x"] + p["w"] <= COLUMNS for _, p in places)
    for (one, a), (other, b) in combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], f"{one} lies over {other}"


def test_panels_and_queries_have_names_of_their_own() -> None:
    panels = dashboard()["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    for panel in panels:
        references = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(references)) == len(references)


def test_every_query_asks_the_data_source_that_was_chosen() -> None:
    found = dashboard()
    chosen = found["templating"]["list"][0]["name"]
    sources = [target["datasource"] for panel in found["panels"] for target in panel.get("targets", [])]
    assert {source["uid"] for source in sources} == {"${" + chosen + "}"}


def test_the_labels_for_the_sidecar_may_be_others() -> None:
    made = find(
        render("--set=metrics.dashboard.enabled=true", "--set=metrics.dashboard.labels.team=ml"), "ConfigMap", NAME
    )
    assert made["metadata"]["labels"].items() >= {"grafana_dashboard": "1", "team": "ml"}.items()
