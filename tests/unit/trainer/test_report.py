"""The report's pure parts: which records stay, which curves are drawn, what the card says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from alignment_trainer.journal import Attempt
from alignment_trainer.report import card, curves, history, receipt

CONTRACT = Path(__file__).parents[3] / "docs/contract"
SCHEMA = json.loads((CONTRACT / "receipt.schema.json").read_text())
EXAMPLE = json.loads((CONTRACT / "receipt.example.json").read_text())
NAN = float("nan")


def logged(steps, **metrics):
    return [{"loss": 1.0 / step, "epoch": step / 10, "step": step, **metrics} for step in steps]


def test_the_example_is_the_contracts():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(EXAMPLE, SCHEMA)


@pytest.mark.parametrize(
    ("log_history", "steps"),
    [
        pytest.param(logged([1, 2, 3]), [1, 2, 3], id="as logged"),
        pytest.param([*logged([1, 2]), *logged([2, 3])], [1, 2, 3], id="a step logged twice"),
        pytest.param([*logged([1]), {"eval_loss": 0.5, "step": 1}], [1, 1], id="an evaluation at the same step stays"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_every_record_stays_once(log_history, steps):
    assert [record["step"] for record in history.records(log_history)] == steps


def test_of_two_records_the_later_counts_and_nan_becomes_null(tmp_path):
    records = history.records([*logged([1], grad_norm=1.0), *logged([1], grad_norm=NAN)])
    history.write(tmp_path, records)
    line = (tmp_path / history.METRICS_FILE).read_text()
    assert line.startswith('{"step": 1, ')
    assert json.loads(line)["grad_norm"] is None
    assert history.read(tmp_path) == records


def test_the_summary_of_a_resumed_run_is_of_all_its_steps():
    summary = {"step": 10, "train_runtime": 5.0, "train_loss": 0.1, "train_steps_per_second": 2.0}
    log = [{"step": 5, "loss": 3.0}, {"step": 10, "loss": 1.0}, summary]
    told = history.records(log, resumed_from=5)[-1]
    assert told["train_loss"] == 2.0, "transformers divides this attempt's losses by all steps"
    assert told["train_steps_per_second"] == 1.0, "this attempt made 5 steps in 5 s"
    assert history.records(log)[-1] == summary


def test_the_mean_loss_weighs_a_record_by_its_steps():
    assert history.mean_loss([{"step": 10, "loss": 1.0}, {"step": 11, "loss": 12.0}]) == 2.0
    assert history.mean_loss([{"step": 1, "eval_loss": 1.0}]) is None


def test_without_its_file_the_history_comes_from_the_newest_checkpoint(tmp_path):
    from alignment_trainer import checkpoint

    for step in (1, 2):
        path = tmp_path / f"checkpoint-{step}"
        checkpoint.begin(path)
        (path / "trainer_state.json").write_text(json.dumps({"log_history": logged(range(1, step + 1))}))
        checkpoint.seal(path)
    folder = tmp_path / "report"
    folder.mkdir()
    assert [record["step"] for record in history.read(folder)] == [1, 2]


DPO = logged(range(1, 6), **{"rewards/chosen": 0.1, "rewards/rejected": 0.0, "rewards/margins": 0.1})
SFT = logged(range(1, 6), mean_token_accuracy=0.5, learning_rate=1e-5)
REWARD = logged(range(1, 6), accuracy=0.7, margin=0.2, min_reward=-1.0, mean_reward=0.0, max_reward=1.0)


@pytest.mark.parametrize(
    ("records", "panels"),
    [
        pytest.param(DPO, ["loss", "rewards", "reward margin"], id="dpo"),
        pytest.param(SFT, ["loss", "token accuracy", "learning rate"], id="sft"),
        pytest.param(REWARD, ["loss", "reward", "reward margin", "reward accuracy"], id="reward"),
        pytest.param(DPO[:1], [], id="one point is no curve"),
        pytest.param([{"step": 1, "loss": None}, {"step": 2, "loss": None}], [], id="nothing finite"),
    ],
)
def test_a_method_gets_the_panels_that_it_logs(records, panels):
    assert [panel.title for panel in curves.PANELS if curves.lines_of(panel, records)] == panels


@pytest.mark.parametrize("count", [2, 500])
def test_the_picture_is_a_png_and_no_trace_of_its_writing_stays(tmp_path, count):
    assert curves.draw(logged(range(1, count)) + logged([count]), tmp_path / "curves.png", "a/b", [count // 2])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_without_curves_there_is_no_picture(tmp_path):
    assert not curves.draw([], tmp_path / "curves.png", "a/b")
    assert not list(tmp_path.iterdir())


def test_smoothing_keeps_a_constant_and_follows_a_line():
    assert curves.smooth([2.0] * 100) == pytest.approx([2.0] * 100)
    line = curves.smooth([float(n) for n in range(100)])
    assert line == sorted(line)
    assert line[0] == 0.0
    assert 90 < line[-1] < 99


def test_training_does_not_pay_for_the_picture():
    code = "import sys; from alignment_trainer.report import curves, receipt; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_attempts_are_told_as_the_journal_has_them():
    first = Attempt(1, 0, {"outcome": "Preempted", "class": "Preempted", "step": 7, "message": "x"})
    assert receipt.attempts([first, Attempt(2, 7)]) == [
        {"attempt": 1, "fromStep": 0, "toStep": 7, "outcome": "Preempted", "class": "Preempted"},
        {"attempt": 2, "fromStep": 7},
    ]


@pytest.mark.parametrize(("folder", "listed"), [("/models/SmolLM2", None), ("owner/name", "owner/name")])
def test_the_card_names_only_what_a_hub_knows(folder, listed):
    told = {**EXAMPLE, "model": {"name": folder}}
    assert card.front_matter(told, adapter=True).get("base_model") == listed
    assert "/models/" not in card.render(told, adapter=True, curves=True)


def test_the_card_names_recipe_data_commits_and_metrics():
    text = card.render(EXAMPLE, adapter=True, curves=True)
    for word in (
        EXAMPLE["model"]["commit"],
        *EXAMPLE["dataset"]["commits"],
        EXAMPLE["dataset"]["name"],
        "learning_rate: ",
        f"| loss | {EXAMPLE['metrics']['loss']:.4g} |",
        EXAMPLE["paper"]["id"],
        f"trl {EXAMPLE['software']['packages']['trl']}",
        "report/curves.png",
        "AutoPeftModelForCausalLM",
    ):
        assert word in text
    assert "report/curves.png" not in card.render(EXAMPLE, adapter=False, curves=False)


DRAW = """
from pathlib import Path
from alignment_trainer.report import curves
curves.draw([{"step": step, "loss": 1.0} for step in range(3)], Path("curves.png"), "title")
"""


def test_curves_are_drawn_with_the_list_of_fonts_that_the_image_brings(tmp_path):
    """Read-only in the image; matplotlib reads only what it could write."""
    built = tmp_path / "built"
    making = {**os.environ, "MPLCONFIGDIR": str(built)}
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], env=making, check=True)
    (fonts,) = built.glob("fontlist-*.json")
    os.utime(fonts, (1, 1))
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    environment |= {"ALIGNMENT_FONTS": str(built), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", DRAW], env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "matplotlib" / fonts.name).stat().st_mtime == 1, "not made anew"
