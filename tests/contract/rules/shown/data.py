"""What goes in and what comes out."""

from pathlib import Path

import pytest
import yaml

from tests.contract.rules import harness
from tests.contract.rules.harness import World
from tests.contract.rules.shown.case import bad
from tests.rule_cases import Case, spec


def a_mixture_ignores_the_single_dataset(case: Case, world: World, out: Path) -> None:
    """The mixture loads as if the field were not there, or (a split) has no such part."""
    section = bad(case)["dataset"]
    loaded = harness.dataset(bad(case), world)
    assert type(loaded["train"]).__name__ == "Dataset"
    assert section.get("datasetTrainSplit", "train_prefs") not in loaded


def a_single_dataset_ignores_the_mixture(case: Case, world: World, out: Path) -> None:
    loaded = harness.dataset(bad(case), world)
    assert type(loaded["train"]).__name__ == "Dataset"
    assert len(loaded["train"]) == 8


def nothing_to_merge(case: Case, world: World, out: Path) -> None:
    assert not hasattr(harness.trainer(bad(case), world, out).model, "merge_and_unload")
    assert hasattr(harness.trainer(spec(case.good), world, out).model, "merge_and_unload")


def push_without_token_dies_at_the_end(case: Case, world: World, out: Path) -> None:
    """The hub's client has no token to send; it is asked for only after training."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalTokenNotFoundError

    with pytest.raises(LocalTokenNotFoundError):
        HfApi(token=True).whoami()


def the_mixture_hides_the_name(case: Case, world: World, out: Path) -> None:
    """TRL's own script trains on the mixture, and never asks for the dataset of that name, which does not exist."""
    import trl.scripts.dpo as script

    settings = bad(case)
    section = harness.snake(settings["dataset"])
    assert section["dataset_name"]
    assert not Path(section["dataset_name"]).exists()
    section["datasets"] = [{"path": str(world.folder / "preference")}]
    fast = {"use_cpu": True, "bf16": False, "report_to": "none", "output_dir": str(out)}
    recipe = {"model_name_or_path": world.path("tiny"), **section, **harness.snake(settings["training"]), **fast}
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    script.main(*script.make_parser().parse_args_and_config(["--config", str(out / "recipe.yaml")]))
    assert (out / "model.safetensors").exists()
