"""Fake GPUs: the node advertises `nvidia.com/gpu` to test scheduling and quotas on a machine that has none."""

from . import api
from .layout import NODE_NAME, Layout
from .report import say

RESOURCE = "nvidia.com/gpu"


def advertise(layout: Layout, count: int) -> None:
    """Sets the count and remembers it for the next start; 0 takes the resource away."""
    _memory(layout).write_text(str(count))
    restore(layout)
    say(f"         node {NODE_NAME} advertises {count} {RESOURCE} (no device behind them)")


def restore(layout: Layout) -> None:
    """kubelet forgets resources that no device plugin reports when it registers the node anew."""
    if not _memory(layout).exists():
        return
    count = int(_memory(layout).read_text())
    quantity = {RESOURCE: str(count) if count else None}
    api.patch_node_status(layout, {"capacity": quantity, "allocatable": quantity})


def _memory(layout: Layout):
    return layout.config / "gpus"
