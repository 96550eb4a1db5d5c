"""Examples that the end-to-end tests do not run: the operator's recipe of each, trained on data as the demo has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.recipe import build
from alignment_operator.settings import Settings
from dev.demo import pairs
from tests.trainer_runs import Bench, Outcome

EXAMPLES = Path(__file__).parents[3] / "examples"
STEPS = 20


@pytest.fixture(scope="module")
def preferences() -> list[dict[str, Any]]:
    """What `make demo` puts on the claim `models` under this name: conversations."""
    question, good, bad = (
        {"from": role, "value": text}
        for role, text in (("human", "what is blue"), ("gpt", "water is blue"), ("gpt", "a dog sleeps"))
    )
    return pairs.convert([{"conversations": [question], "chosen": good, "rejected": bad}] * 96)


def train(bench: Bench, name: str, dataset: str, rows: list[dict[str, Any]]) -> Outcome:
    manifest = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    assert manifest["spec"]["dataset"]["datasetName"] == f"/cache/{dataset}"
    manifest["metadata"]["namespace"] = "demo"
    made = build(AlignmentJob.model_validate(manifest), 1, Settings())
    here = {"model_name_or_path": str(bench.model), "dataset_name": str(bench.rows(rows))}
    recipe = bench.recipe(**{**made.recipe, **here, "output_dir": str(bench.root / name)})
    return bench.run(recipe, made.run["method"])


def test_the_sft_example_learns_from_the_demos_conversations(bench: Bench, preferences: list[dict[str, Any]]) -> None:
    done = train(bench, "smollm2-sft", "conversations", pairs.conversations(preferences[:8]))
    assert done.artifacts == {"adapter": "."}
    assert done.rows == 8
    assert len(done.losses) == STEPS
    assert done.losses[-1] < done.losses[0]


@pytest.mark.parametrize(
    ("name", "rows", "metric"),
    [
        ("smollm2-kto", 192, "rewards/margins"),
        ("smollm2-simpo", 96, "rewards/margins"),
        ("smollm2-reward", 96, "margin"),
    ],
)
def test_an_example_learns_to_tell_good_answers_from_bad_ones(
    bench: Bench, preferences: list[dict[str, Any]], name: str, rows: int, metric: str
) -> None:
    """KTO, too, sees both kinds in 20 steps: TRL alone would begin with all the good ones."""
    done = train(bench, name, "preferences", preferences)
    assert done.artifacts == {"adapter": "."}
    assert done.rows == rows
    assert len(done.losses) == STEPS
    margins = [entry[metric] for entry in done.trainer.state.log_history if metric in entry]
    assert margins[-1] > margins[0]
