"""values.yaml -> the table of values in the chart's README, between two marks."""

import json
import re
from collections.abc import Iterable
from itertools import groupby

from .comments import Value

BEGIN = "<!-- begin values: generated from values.yaml -->"
END = "<!-- end values -->"


def inject(readme: str, values: tuple[Value, ...]) -> str:
    """The README with its table renewed. Raises ValueError if a mark is missing."""
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"README.md lacks the marks {BEGIN} and {END}")
    table = f"{BEGIN}\n{tables(values)}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: table, readme, flags=re.DOTALL)


def tables(values: tuple[Value, ...]) -> str:
    """One table a section, in the order of values.yaml."""
    sections = groupby(_leaves(values), key=lambda value: value.section)
    return "\n\n".join(
        f"### {title}\n\n| value | default | meaning |\n|---|---|---|\n{_rows(group)}" for title, group in sections
    )


def _rows(values: Iterable[Value]) -> str:
    return "\n".join(
        f"| `{v.path}` | `{json.dumps(v.default)}` | {v.description.replace('|', '&#124;')} |" for v in values
    )


def _leaves(values: tuple[Value, ...]) -> list[Value]:
    return [leaf for value in values for leaf in (_leaves(value.children) if value.children else [value])]
