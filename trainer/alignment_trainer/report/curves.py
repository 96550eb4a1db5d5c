"""curves.png: how the metrics went, one panel each; only those that the method logs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONTS_VARIABLE = "ALIGNMENT_FONTS"  # set in the image: a folder with matplotlib's list of fonts
CURVES_FILE = "curves.png"
COLUMNS = 2
SMOOTH_FROM = 40  # records; fewer are drawn as they are
_COLOURS = ("#0072b2", "#d55e00", "#009e73")  # Okabe and Ito: told apart by everybody, also in print


@dataclass(frozen=True)
class Panel:
    """One diagram. `lines`: label -> TRL's names of the metric, of which a method logs one; `bounds`: of the y axis."""

    title: str
    lines: Mapping[str, tuple[str, ...]]
    bounds: tuple[float, float] | None = None
    unless: tuple[str, ...] = ()  # a metric that tells more
    scientific: bool = False


PANELS = (
    Panel("loss", {"training": ("loss",), "evaluation": ("eval_loss",)}),
    Panel("rewards", {"chosen": ("rewards/chosen",), "rejected": ("rewards/rejected",)}),
    Panel("reward", {"largest": ("max_reward",), "mean": ("mean_reward",), "smallest": ("min_reward",)}),
    Panel(
        "reward margin",
        {
            "training": ("rewards/margins", "margin"),
            "evaluation": ("eval_rewards/margins", "eval_margin"),
        },
    ),
    Panel(
        "reward accuracy",
        {
            "training": ("rewards/accuracies", "accuracy"),
            "evaluation": ("eval_rewards/accuracies", "eval_accuracy"),
        },
        (-0.02, 1.02),
    ),
    Panel(
        "token accuracy",
        {"training": ("mean_token_accuracy",), "evaluation": ("eval_mean_token_accuracy",)},
        (-0.02, 1.02),
        unless=("rewards/accuracies", "accuracy"),
    ),
    Panel("gradient norm", {"training": ("grad_norm",)}),
    Panel("learning rate", {"training": ("learning_rate",)}, scientific=True),
)

Line = tuple[str, list[int], list[float]]  # label, steps, values


def lines_of(panel: Panel, records: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The panel's lines that the records have, with two points at least; what is not finite is left out."""
    found: list[Line] = []
    if any(name in record for record in records for name in panel.unless):
        return found
    for label, names in panel.lines.items():
        points = [
            (record["step"], float(record[name]))
            for record in records
            for name in names
            if isinstance(record.get(name), int | float)
        ]
        if len(points) > 1:
            found.append((label, [step for step, _ in points], [value for _, value in points]))
    return found


def draw(records: Sequence[Mapping[str, Any]], path: Path, title: str, resumed_at: Sequence[int] = ()) -> bool:
    """Write the picture; False if no metric has two points. `resumed_at`: steps at which an attempt went on."""
    drawn = [(panel, lines) for panel in PANELS if (lines := lines_of(panel, records))]
    if not drawn:
        return False
    figure = _figure(len(drawn), title + _notes(drawn, resumed_at))
    axes = list(figure.subplots(-(-len(drawn) // COLUMNS), COLUMNS, squeeze=False).flat)
    for axis, (panel, lines) in zip(axes, drawn, strict=False):
        _draw_panel(axis, panel, lines, resumed_at)
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    beside = path.with_name(f".{path.name}.new")
    figure.savefig(beside, format="png", dpi=110)
    os.replace(beside, path)
    return True


def _figure(panels: int, title: str) -> Figure:
    os.environ.setdefault("MPLCONFIGDIR", _font_folder())
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.7 + 2.7 * -(-panels // COLUMNS)), layout="constrained")
    FigureCanvasAgg(figure)  # no display, and no state shared with anybody's pyplot
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _font_folder() -> str:
    """A folder that matplotlib can write to (HOME may be none), with the list of fonts that the image's build made.

    matplotlib reads its list only from a folder that it could write to, which nothing in the image is.
    """
    folder = os.path.join(tempfile.gettempdir(), "matplotlib")
    if made := os.environ.get(FONTS_VARIABLE):
        with contextlib.suppress(OSError):  # then it makes one, in a second
            shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


def _notes(drawn: list[tuple[Panel, list[Line]]], resumed_at: Sequence[int]) -> str:
    smoothed = any(_is_smoothed(panel, values) for panel, lines in drawn for _, _, values in lines)
    notes = ["bold: moving average"] * smoothed + ["dotted: where an attempt resumed"] * bool(resumed_at)
    return f"   ({'; '.join(notes)})" if notes else ""


def _is_smoothed(panel: Panel, values: list[float]) -> bool:
    return len(values) >= SMOOTH_FROM and not panel.scientific


def _draw_panel(axis: Axes, panel: Panel, lines: list[Line], resumed_at: Sequence[int]) -> None:
    for (label, steps, values), colour in zip(lines, _COLOURS, strict=False):
        many = _is_smoothed(panel, values)
        if many:
            axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        marker = "o" if len(values) <= 12 else None
        shown = smooth(values) if many else values
        axis.plot(steps, shown, color=colour, linewidth=1.6, label=label, marker=marker, markersize=3)
    for step in resumed_at:
        axis.axvline(step, color="0.5", linewidth=0.9, linestyle=":")
    axis.set_title(panel.title, fontsize=10, loc="left")
    axis.set_xlabel("optimizer step", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    if panel.bounds:
        axis.set_ylim(*panel.bounds)
    if panel.scientific:
        axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axis.yaxis.get_offset_text().set_fontsize(8)
    _legend(axis)


def _legend(axis: Axes) -> None:
    """One entry for each label; none where a single line needs no name."""
    handles, labels = axis.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    if set(entries) != {"training"}:
        axis.legend(entries.values(), entries.keys(), fontsize=8, frameon=False)


def smooth(values: Sequence[float]) -> list[float]:
    """Exponential moving average over about a twentieth of the points, without the bias of its start."""
    weight = 1 - 1 / max(1.0, len(values) / 20)
    average, total, result = 0.0, 0.0, []
    for value in values:
        average, total = weight * average + (1 - weight) * value, weight * total + (1 - weight)
        result.append(average / total)
    return result
