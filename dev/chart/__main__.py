"""`python -m dev.chart [--check]`: write the chart's generated files anew.

values.yaml gives values.schema.json and the table in README.md, panels.py gives files/dashboard.json.

With --check nothing is written; exit 1 names the files that differ.
"""

import argparse
import json
from pathlib import Path

from . import comments, dashboard, readme, schema

CHART = Path(__file__).parents[2] / "charts" / "alignment-operator"


def generated(chart: Path) -> dict[Path, str]:
    """Path -> what it should hold."""
    values = comments.read((chart / "values.yaml").read_text())
    page = chart / "README.md"
    return {
        chart / "values.schema.json": json.dumps(schema.document(values), indent=2) + "\n",
        page: readme.inject(page.read_text(), values),
        chart / "files" / "dashboard.json": dashboard.document(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.chart", description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated(CHART).items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        print(f"{path.name}: {'is out of date: run `make generate`' if check else 'written'}")
        if not check:
            path.write_text(text)
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
