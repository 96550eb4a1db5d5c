"""What the demonstration prints while a job runs, and after it."""

from __future__ import annotations

from typing import Any

import pytest

from dev.demo import flow, watch

METRICS = [{"name": "loss", "value": "0.66113"}, {"name": "rewards/margins", "value": "0.06921"}]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        pytest.param({}, "Pending", id="before-the-operator-saw-it"),
        pytest.param({"phase": "Running"}, "Running", id="no-report-yet"),
        pytest.param({"phase": "Running", "progress": {"phase": "Loading"}}, "Running  Loading", id="loading"),
        pytest.param(
            {
                "phase": "Running",
                "progress": {"phase": "Training", "step": 0, "totalSteps": 20, "estimatedRemainingSeconds": None},
            },
            "Running  Training  step 0/20",
            id="no-pace-yet",
        ),
        pytest.param(
            {
                "phase": "Running",
                "progress": {"phase": "Training", "step": 7, "totalSteps": 20, "estimatedRemainingSeconds": 91},
                "metrics": METRICS,
            },
            "Running  Training  step 7/20  loss 0.6611  reward margin 0.0692  91 s left",
            id="training",
        ),
        pytest.param(
            {"phase": "Complete", "progress": {"phase": "Complete", "step": 20, "totalSteps": 20}},
            "Complete  step 20/20",
            id="one-word-is-not-said-twice",
        ),
    ],
)
def test_one_line_says_what_is_known(status: dict[str, Any], line: str) -> None:
    assert watch.line(status) == line
    assert len(line) <= watch.WIDTH


@pytest.mark.parametrize("margin", [0.1234, -0.0371])
def test_a_margin_is_printed_with_its_sign(margin: float) -> None:
    measured = {"pairs": 20, "preferred": 14, "before": -12.5, "after": -12.5 + margin / 0.1, "margin": margin}
    text = "\n".join(flow.learned(measured, 0.1))
    assert f"{margin:+.4f}" in text
    assert "14 of 20" in text
