"""An example that the end-to-end tests do not run: the operator's recipe of it, trained on data as the demo has it."""

from __future__ import annotations

from pathlib import Path

import yaml

from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.recipe import build
from alignment_operator.settings import Settings
from dev.demo import pairs
from tests.trainer_runs import Bench

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_sft_example_learns_from_the_demos_conversations(bench: Bench) -> None:
    manifest = yaml.safe_load((EXAMPLES / "smollm2-sft.yaml").read_text())
    assert manifest["spec"]["dataset"]["datasetName"] == "/cache/conversations"
    manifest["metadata"]["namespace"] = "demo"
    made = build(AlignmentJob.model_validate(manifest), 1, Settings())
    turns = [("human", "what is blue"), ("gpt", "water is blue")]
    question, answer = ({"from": role, "value": text} for role, text in turns)
    rows = pairs.convert([{"conversations": [question], "chosen": answer, "rejected": answer}] * 8)
    here = {"model_name_or_path": str(bench.model), "dataset_name": str(bench.rows(pairs.conversations(rows)))}
    recipe = bench.recipe(**{**made.recipe, **here, "output_dir": str(bench.root / "sft-example")})
    done = bench.run(recipe, made.run["method"])
    assert done.artifacts == {"adapter": "."}
    assert done.rows == 8
    assert len(done.losses) == 20
    assert done.losses[-1] < done.losses[0]
