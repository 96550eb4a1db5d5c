"""`python -m dev.chart.draw --prometheus URL FILE.png`: what the dashboard would show, drawn by matplotlib.

No Grafana: its place, title, curves and legend of each panel, from what a Prometheus answers now. It shows whether rows
fit, legends can be read and units are right; colors and fonts are matplotlib's.
"""

import argparse
import json
import sys
import time
import urllib.parse
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from .dashboard import COLUMNS, document

Json = dict[str, Any]
CELL = (0.75, 0.36)  # inches of a column and a line of Grafana's grid
LEGENDS = 6


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.chart.draw", description=__doc__)
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--minutes", type=float, default=60, help="how far back curves go")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    draw(options.prometheus, options.minutes * 60, options.file)
    return 0


def draw(url: str, seconds: float, file: Path) -> None:
    """Draw every panel where the dashboard has it. Raises OSError when Prometheus does not answer."""
    import matplotlib.pyplot as plt

    panels = json.loads(document())["panels"]
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(COLUMNS * CELL[0], lines * CELL[1]))
    for panel in panels:
        place = panel["gridPos"]
        left, width = (place["x"] + 0.7) / COLUMNS, (place["w"] - 1.0) / COLUMNS
        bottom, height = 1 - (place["y"] + place["h"] - 1) / lines, (place["h"] - 2.2) / lines
        if panel["type"] == "row":
            figure.text(0.01, 1 - (place["y"] + 0.7) / lines, panel["title"], weight="bold")
        else:
            axes = figure.add_axes((left, bottom, width, height))
            axes.set_title(panel["title"], fontsize=9, loc="left")
            KINDS[panel["type"]](axes, panel, url, seconds)
    figure.savefig(file, dpi=70)


def _curves(axes: Any, panel: Json, url: str, seconds: float) -> None:
    for target in panel["targets"]:
        for series in _ask(url, "query_range", target["expr"], seconds):
            times = [datetime.fromtimestamp(at) for at, _ in series["values"]]
            label = _legend(target["legendFormat"], series["metric"])
            axes.plot(times, [float(value) for _, value in series["values"]], label=label, linewidth=1)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(handles[:LEGENDS], labels[:LEGENDS], fontsize=6, loc="upper left", frameon=False)
    axes.tick_params(labelsize=6)
    axes.set_ylabel(panel["fieldConfig"]["defaults"]["unit"], fontsize=6)


def _number(axes: Any, panel: Json, url: str, seconds: float) -> None:
    [series] = _ask(url, "query", panel["targets"][0]["expr"], seconds)
    axes.text(0.5, 0.5, f"{float(series['value'][1]):.4g}", ha="center", va="center", fontsize=18)
    axes.axis("off")


def _table(axes: Any, panel: Json, url: str, seconds: float) -> None:
    found = [series["metric"] for series in _ask(url, "query", panel["targets"][0]["expr"], seconds)]
    names = list(dict.fromkeys(name for metric in found for name in metric))
    axes.axis("off")
    if found:
        axes.table([[metric.get(name, "") for name in names] for metric in found], colLabels=names, loc="upper left")


def _legend(template: str, metric: dict[str, str]) -> str:
    for name, value in metric.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def _ask(url: str, what: str, expression: str, seconds: float) -> list[Json]:
    """With every choice at the top of the page left as it is: all."""
    for name, value in {"namespace": ".*", "alignmentjob": ".*", "__rate_interval": "1m", "__range": "1h"}.items():
        expression = expression.replace(f"${name}", value)
    now = time.time()
    times = {"start": now - seconds, "end": now, "step": max(1, round(seconds / 200))} if what == "query_range" else {}
    query = urllib.parse.urlencode({"query": expression, **times})
    with urllib.request.urlopen(f"{url}/api/v1/{what}?{query}", timeout=30) as answer:
        found: list[Json] = json.load(answer)["data"]["result"]
    return found


KINDS = {"timeseries": _curves, "stat": _number, "table": _table}

if __name__ == "__main__":
    sys.exit(main())
