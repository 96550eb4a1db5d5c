"""`spec.output.push`: a trained model arrives on the hub, whole and alone, or its owner reads what to mend.

The client is the real one, the hub is `tests/hub.py`; the failures that a run meets are shown by real attempts of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_trainer import exits, export
from alignment_trainer.config import load_config
from tests.contract.lifecycle.pods import Run
from tests.contract.lifecycle.zygote import Zygote
from tests.hub import Hub
from tests.tiny import tiny_model, tiny_preferences

WRITE, READ = "hf_may_write", "hf_may_read"
ADAPTER = {"adapter_model.safetensors", "adapter_config.json"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub({}, root=tmp_path / "hub", writers={"me": WRITE}, readers=frozenset({READ})) as hub:
        yield hub


@pytest.fixture(scope="module")
def run(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A LoRA run with checkpoints, to be pushed to me/tiny; not started yet."""
    root = tmp_path_factory.mktemp("push")
    tiny_model(root / "model")
    (root / "data").mkdir()
    tiny_preferences(root / "data" / "train.jsonl", 8)
    recipe = {
        "model_name_or_path": str(root / "model"),
        "dataset_name": str(root / "data"),
        "use_peft": True,
        "lora_r": 4,
        "max_steps": 2,
        "save_steps": 1,
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "bf16": False,
    }
    environment = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(root / "hf")}
    made = Run(root, recipe, {"push": {"repository": "me/tiny"}}, environment, zygote.start)
    yield made
    made.end()


def contents(folder: Path) -> dict[str, str]:
    """sha256 of every file by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_push_that_failed_is_finished_alone_by_the_next_attempt(run: Run, hub: Hub) -> None:
    """Hub down, then a token that may only read, then the right one: three attempts, one training."""
    hub.down = True
    down = run.start(HF_ENDPOINT=hub.url, HF_TOKEN=WRITE)
    assert (down.wait(), down.message["class"]) == (69, "Infrastructure"), down.output[-3000:]
    assert "spec.output.push" in down.message["message"]
    trained_at = (run.output / "adapter_model.safetensors").stat().st_mtime_ns
    hub.down = False

    refused = run.start(HF_ENDPOINT=hub.url, HF_TOKEN=READ)
    assert (refused.wait(), refused.message["class"]) == (77, "AccessDenied"), refused.output[-3000:]
    assert "spec.output.push.secretName" in refused.message["cure"]
    assert hub.uploads.created == {}

    done = run.complete(HF_ENDPOINT=hub.url, HF_TOKEN=READ, ALIGNMENT_PUSH_TOKEN=WRITE)
    assert (done.message["outcome"], done.message["step"]) == ("Complete", 2)
    assert done.message["artifacts"]["repository"].startswith("me/tiny@")
    assert hub.uploads.created == {"me/tiny": True}, "private unless the spec says otherwise"
    assert (run.output / "adapter_model.safetensors").stat().st_mtime_ns == trained_at, "trained once"

    pushed, local = contents(hub.uploads.folder("me/tiny")), contents(run.output)
    model = {name for name in pushed if not name.startswith((".gitattributes", "README.md", "report/"))}
    assert model == ADAPTER | TOKENIZER
    assert all(pushed[name] == local[name] for name in ADAPTER | TOKENIZER)
    assert {"checkpoint-2/trainer_state.json", "attempts.jsonl"} <= local.keys()


@pytest.fixture
def push(run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """push(repository=..., environment={...}, ...) in this process, of a folder with a saved adapter."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "ALIGNMENT_PUSH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))

    def _push(folder: Path, environment: dict[str, str] | None = None, **fields: Any) -> str:
        for name, value in (environment or {"ALIGNMENT_PUSH_TOKEN": WRITE}).items():
            monkeypatch.setenv(name, value)
        config = load_config(run.config / "recipe.yaml", run.config / "run.yaml")
        target = config.run.push.model_copy(update=fields)
        config.run = config.run.model_copy(update={"push": target, "outputPath": str(folder)})
        return export.push(config)

    return _push


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An output folder as a run leaves it: an adapter whose card names the folder of its base model, and our files."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "out"
    base = AutoModelForCausalLM.from_pretrained(tiny_model(tmp_path / "base"))
    get_peft_model(base, LoraConfig(r=4, task_type="CAUSAL_LM")).save_pretrained(folder)
    (folder / "attempts.jsonl").write_text("{}\n")
    return folder


@pytest.mark.parametrize("transport", ["xet", "lfs"])
def test_weights_arrive_byte_for_byte(
    push: Callable[..., str], adapter: Path, hub: Hub, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", transport == "lfs")
    push(adapter)
    name = "adapter_model.safetensors"
    assert (hub.uploads.folder("me/tiny") / name).read_bytes() == (adapter / name).read_bytes()
    assert bool(hub.uploads.objects) == (transport == "lfs")
    assert hub.uploads.xet is not None
    assert bool(hub.uploads.xet.files) == (transport == "xet")


def test_a_second_push_adds_to_the_repository_that_is_there(push: Callable[..., str], adapter: Path, hub: Hub) -> None:
    first = push(adapter, private=False)
    (adapter / "adapter_config.json").write_text("{}")
    assert push(adapter, private=False) != first
    assert hub.uploads.created == {"me/tiny": False}
    assert (hub.uploads.folder("me/tiny") / "adapter_config.json").read_text() == "{}"


def test_of_a_merged_model_the_merged_weights_alone_are_pushed(
    push: Callable[..., str], adapter: Path, hub: Hub
) -> None:
    tiny_model(adapter / "merged")
    push(adapter)
    assert contents(hub.uploads.folder("me/tiny")).keys() - {".gitattributes"} == contents(adapter / "merged").keys()


def test_the_card_does_not_name_a_folder_as_the_base_model(
    push: Callable[..., str], adapter: Path, hub: Hub, tmp_path: Path
) -> None:
    assert str(tmp_path / "base") in (adapter / "README.md").read_text()
    push(adapter)
    card = (hub.uploads.folder("me/tiny") / "README.md").read_text()
    assert str(tmp_path) not in card.split("---")[1]
    assert "library_name: peft" in card


@pytest.mark.parametrize(
    ("fields", "environment", "error", "words"),
    [
        pytest.param({}, {"HF_TOKEN": READ}, exits.AccessDenied, "secretName", id="token-may-only-read"),
        pytest.param({}, {"HF_TOKEN": "hf_none"}, exits.AccessDenied, "secretName", id="token-is-unknown"),
        pytest.param({}, {"HF_TOKEN": ""}, exits.AccessDenied, "secretName", id="no-token"),
        pytest.param(
            {"repository": "them/tiny"},
            {"HF_TOKEN": WRITE},
            exits.AccessDenied,
            "push.repository",
            id="namespace-of-somebody-else",
        ),
        pytest.param(
            {"repository": "a/b/c"}, {"HF_TOKEN": WRITE}, exits.UserError, "push.repository", id="no-repository-name"
        ),
    ],
)
def test_a_refused_push_names_the_field(
    push: Callable[..., str],
    adapter: Path,
    fields: dict[str, Any],
    environment: dict[str, str],
    error: type[exits.TrainerError],
    words: str,
) -> None:
    with pytest.raises(error) as refused:
        push(adapter, environment, **fields)
    assert type(refused.value) is error
    assert f"spec.output.{words}" in refused.value.cure or words in refused.value.cure


def test_a_hub_without_xet_is_told_apart_from_one_that_is_down(
    push: Callable[..., str], adapter: Path, hub: Hub
) -> None:
    hub.uploads.xet = None
    with pytest.raises(exits.UserError, match="HF_HUB_DISABLE_XET"):
        push(adapter)


def test_offline_nothing_is_pushed_and_the_switch_is_named(
    push: Callable[..., str], adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(exits.UserError, match="HF_HUB_OFFLINE"):
        push(adapter)


def test_a_token_that_may_only_read_is_refused_in_a_repository_that_is_there(
    push: Callable[..., str], adapter: Path
) -> None:
    push(adapter)
    with pytest.raises(exits.AccessDenied) as refused:
        push(adapter, {"ALIGNMENT_PUSH_TOKEN": READ})
    assert "spec.output.push.secretName" in refused.value.cure
