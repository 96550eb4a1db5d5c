"""Code that ships with models, against a real hub protocol: the listed commit runs, and no way round it does.

The ways round are shown to work where there is no list: these tests could fail.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml

from tests.hub import Hub, Repository, commit_of
from tests.tiny import tiny_model, tiny_preferences

CODE = """
from transformers import PreTrainedConfig

class CustomConfig(PreTrainedConfig):
    model_type = "custom"
    told = "{told}"
"""
GENERATE = "def generate(model, **kwargs):\n    return 1\n"
# Loads what its argument lists, before and after the restriction; prints what each load told, or why it was refused.
DRIVER = """
import json, os, sys
from transformers import AutoConfig, AutoTokenizer
from transformers.generation.utils import GenerationMixin
from alignment_trainer import remote_code

def attempt(kind, name, revision):
    try:
        if kind == "generate":
            GenerationMixin().load_custom_generate(name, trust_remote_code=True)
            return "ran"
        loaded = {"config": AutoConfig, "tokenizer": AutoTokenizer}[kind].from_pretrained(
            name, revision=revision, trust_remote_code=True)
        return loaded.told
    except Exception as error:
        return f"{type(error).__name__}: {error}"

work = json.loads(sys.argv[1])
before = {name: attempt(*load) for name, load in work["before"].items()}
remote_code.restrict(work["allowed"])
after = {name: attempt(*load) for name, load in work["after"].items()}
os.chdir(work["beside"])
beside = {name: attempt(*load) for name, load in work["there"].items()}
print(json.dumps({"before": before, "after": after | beside}))
"""


def repository(folder: Path, told: str, where: str = "configuration_custom.CustomConfig") -> Path:
    """A model whose configuration is code of its own, or of the repository that `where` names."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "custom", "auto_map": {"AutoConfig": where}}))
    (folder / "configuration_custom.py").write_text(CODE.format(told=told))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(GENERATE)
    return folder


def poison(home: Path, name: str, commit: str, model: Path) -> None:
    """What another user of the cache volume may have left there: the listed commit, with other code in it."""
    snapshot = home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text((model / "config.json").read_text())
    (snapshot / "configuration_custom.py").write_text(CODE.format(told="poison"))
    modules = home / "modules/transformers_modules" / name / commit
    modules.mkdir(parents=True)
    (modules / "configuration_custom.py").write_text(CODE.format(told="poison"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What every load said: by phase, by name."""
    root = tmp_path_factory.mktemp("remote-code")
    listed = repository(root / "listed", "listed")
    newer = repository(root / "newer", "newer")
    commit = commit_of(listed)
    free = repository(root / "free", "free")
    repositories = {
        "org/listed": Repository(newer, revisions={"v1": listed}),
        "org/poisoned": Repository(repository(root / "clean", "clean")),
        "org/other": Repository(repository(root / "other", "other")),
        "org/points-away": Repository(
            repository(root / "away", "away", "org/other--configuration_custom.CustomConfig")
        ),
        "org/points-here": Repository(
            repository(root / "here", "here", "org/listed--configuration_custom.CustomConfig")
        ),
        "org/free-poisoned": Repository(free),
    }
    clean = commit_of(root / "clean")
    poison(root / "home", "org/poisoned", clean, root / "clean")
    poison(root / "home", "org/free-poisoned", commit_of(free), free)
    repository(root / "work/org/listed", "folder with the repository's name")
    repository(root / "folder", "folder")
    loads = {
        "listed commit": ("config", "org/listed", commit),
        "listed commit from a poisoned cache": ("config", "org/poisoned", clean),
        "another commit": ("config", "org/listed", commit_of(newer)),
        "branch": ("config", "org/points-here", None),
        "another repository": ("config", "org/other", None),
        "auto_map into another repository": ("config", "org/points-away", None),
        "folder": ("config", str(root / "folder"), None),
        "generation code": ("generate", "org/other", None),
        "generation code of a folder": ("generate", str(root / "folder"), None),
    }
    before = {
        name: loads[name] for name in ("auto_map into another repository", "folder", "generation code of a folder")
    }
    before["poisoned cache"] = ("config", "org/free-poisoned", commit_of(free))
    allowed = [f"org/listed@{commit}", f"org/poisoned@{clean}"]
    beside = {"folder with the repository's name": ("config", "org/listed", commit)}
    work = {"before": before, "after": loads, "allowed": allowed, "beside": str(root / "work"), "there": beside}
    with Hub(repositories) as hub:
        return drive(hub, root, work)


def drive(hub: Hub, root: Path, work: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Run the driver in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(work)],
        env=clean | {"HF_ENDPOINT": hub.url, "HF_HOME": str(root / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("auto_map into another repository", "other"),
        ("folder", "folder"),
        ("generation code of a folder", "ran"),
        ("poisoned cache", "poison"),
    ],
)
def test_without_a_list_the_code_runs(told: dict[str, dict[str, str]], way: str, code: str) -> None:
    assert told["before"][way] == code


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("listed commit", "listed"),
        ("listed commit from a poisoned cache", "clean"),
        ("branch", "listed"),  # of another repository, which names no revision of the code
    ],
)
def test_with_a_list_the_listed_commit_runs(told: dict[str, dict[str, str]], way: str, code: str) -> None:
    assert told["after"][way] == code


def test_a_listed_repository_runs_at_its_listed_commit_whatever_was_asked_for(told: dict[str, dict[str, str]]) -> None:
    assert told["after"]["another commit"] == "listed"


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("another repository", "org/other is not run: it is not on the operator's list"),
        ("auto_map into another repository", "org/other is not run: it is not on the operator's list"),
        ("folder", "is not run: it is a folder"),
        ("folder with the repository's name", "org/listed is not run: it is a folder"),
        ("generation code", "org/other is not run: it is not on the operator's list"),
        ("generation code of a folder", "is not run: it is a folder"),
    ],
)
def test_with_a_list_nothing_else_runs(told: dict[str, dict[str, str]], way: str, why: str) -> None:
    assert told["after"][way].startswith("UserError: spec.model.trustRemoteCode: code of ")
    assert why in told["after"][way]


def train(folder: Path, hub: Hub, recipe: dict[str, Any], allowed: list[str]) -> tuple[int, dict[str, Any]]:
    """Run the trainer against the hub; returns its exit code and termination message."""
    out = str(folder / "out")
    run = {"contractVersion": 1, "method": "dpo", "job": {"namespace": "default", "name": "code", "run": 1}}
    run |= {"outputPath": out, "nodes": 1, "processesPerNode": 1, "device": "cpu", "remoteCode": allowed}
    recipe = {
        "model_name_or_path": "org/model",
        "dataset_name": "org/data",
        "output_dir": out,
        "use_cpu": True,
        **recipe,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"bf16": False, "max_steps": 1}))
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "KUBEFLOW_"))}
    env |= {"ALIGNMENT_CONFIG_DIR": str(folder), "ALIGNMENT_TERMINATION_LOG": str(folder / "message.json")}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([sys.executable, "-m", "alignment_trainer"], env=env, timeout=180, check=False)
    return done.returncode, json.loads((folder / "message.json").read_text())


def test_the_trainer_ends_with_the_field_and_the_cure(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    auto_map = {"AutoConfig": "org/elsewhere--configuration_custom.CustomConfig"}
    (tmp_path / "model/config.json").write_text(json.dumps(config | {"model_type": "custom", "auto_map": auto_map}))
    (tmp_path / "data").mkdir()
    tiny_preferences(tmp_path / "data/train.jsonl", 8)
    commit = commit_of(tmp_path / "model")
    repositories = {"org/model": Repository(tmp_path / "model"), "org/data": Repository(tmp_path / "data", "dataset")}
    with Hub(repositories) as hub:
        recipe = {"model_revision": commit, "trust_remote_code": True}
        code, message = train(tmp_path, hub, recipe, [f"org/model@{commit}"])
        asked = [path for _, path in hub.requests if "elsewhere" in path]
    assert (code, message["class"]) == (78, "UserError")
    assert "code of org/elsewhere is not run" in message["message"]
    assert "settings.allowed.remote_code" in message["cure"]
    assert asked == []


# Who in transformers executes a file that is no module of its own, and why that is no way round.
EXECUTE = {
    "dynamic_module_utils.py": "the guarded function is the only one that puts files where this one looks",
    "generation/utils.py": "custom generation: loads by the guarded function",
    "integrations/integration_utils.py": "hyperparameter search with Ray: no part of a run",
    "utils/import_utils.py": "transformers' own lazy modules",
}


def test_all_code_of_models_passes_the_guarded_function() -> None:
    """A new version of transformers may have another way: then somebody has to look."""
    root = Path(transformers.__file__).parent
    words = re.compile(r"\b(get_cached_module_file|get_class_in_module|exec_module|spec_from_file_location)\b")
    assert {str(path.relative_to(root)) for path in root.rglob("*.py") if words.search(path.read_text())} == set(
        EXECUTE
    )
