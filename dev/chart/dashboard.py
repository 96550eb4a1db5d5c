"""panels.py -> files/dashboard.json: a dashboard as Grafana 10 and newer import it."""

import json
from collections.abc import Iterable
from typing import Any

from .panels import ROWS, Panel

Json = dict[str, Any]

COLUMNS = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def document() -> str:
    """The file's text."""
    return json.dumps(_dashboard(), indent=1) + "\n"


def _dashboard() -> Json:
    return {
        "uid": "alignment-operator",
        "title": "Alignment jobs",
        "description": "AlignmentJobs and their operator. Generated from dev/chart/panels.py.",
        "tags": ["alignment-operator"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": list(_panels()),
    }


def _variables() -> list[Json]:
    """The choices at the top: each is all that there is, until somebody chooses."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return [
        source,
        _choice("namespace", "Namespace", "label_values(alignment_operator_alignmentjobs, namespace)"),
        _choice(
            "alignmentjob", "Job", 'label_values(alignment_operator_job_info{namespace=~"$namespace"}, alignmentjob)'
        ),
    ]


def _choice(name: str, label: str, query: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterable[Json]:
    """Every row and its panels, from left to right and from the top to the bottom."""
    number, y = 1, 0
    for title, panels in ROWS.items():
        yield _row(number, title, y)
        number, y, x = number + 1, y + 1, 0
        for index, panel in enumerate(panels):
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHTS[panels[index - 1].kind]
            yield _panel(number, panel, x, y)
            number, x = number + 1, x + panel.width
        y += HEIGHTS[panels[-1].kind]


def _row(number: int, title: str, y: int) -> Json:
    place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, panel: Panel, x: int, y: int) -> Json:
    made = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHTS[panel.kind]},
        "targets": [_target(panel, chr(ord("A") + n), *query) for n, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": OPTIONS[panel.kind],
    }
    if panel.kind == "table":
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}]
    return made


def _target(panel: Panel, reference: str, expression: str, legend: str) -> Json:
    """A table and a number are of now; a curve is of the whole time."""
    instant = panel.kind == "table"
    target: Json = {"refId": reference, "datasource": SOURCE, "expr": expression, "editorMode": "code"}
    target |= {"instant": instant, "range": not instant, "format": "table" if instant else "time_series"}
    return target | {"legendFormat": legend or "__auto"}


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit, "min": 0} if panel.title != "Reward margin" else {"unit": panel.unit}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        fill = 40 if panel.stacked else 5
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "stacking": stacking}
    return defaults


OPTIONS: dict[str, Json] = {
    "stat": {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "colorMode": "none",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}
