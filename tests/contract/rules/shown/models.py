"""The policy and the reference model."""

import contextlib
import dataclasses
import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.rules import harness
from tests.contract.rules.harness import World
from tests.contract.rules.shown.case import bad
from tests.rule_cases import Case, Json, merge

METHODS = ("dpo", "sft", "orpo", "cpo", "kto", "reward")


def one_model_is_used(case: Case, world: World, out: Path) -> None:
    """TRL has one word for the policy: the other source would be ignored."""
    fields = {field.name for field in dataclasses.fields(type(harness.model_config(bad(case), world)))}
    assert "model_name_or_path" in fields
    assert not any("job" in name for name in fields)


def revision_of_a_folder_is_ignored(case: Case, world: World, out: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(world.path("tiny"))
    revised = AutoModelForCausalLM.from_pretrained(world.path("tiny"), revision=bad(case)["model"]["modelRevision"])
    assert torch.equal(plain.lm_head.weight, revised.lm_head.weight)


def four_bit_options_alone_quantize_nothing(case: Case, world: World, out: Path) -> None:
    from trl import ModelConfig, get_quantization_config

    section = bad(case).get("referenceModel", {}).get("model") or bad(case)["model"]
    assert get_quantization_config(ModelConfig(**harness.snake(section))) is None


def lora_options_alone_train_all_weights(case: Case, world: World, out: Path) -> None:
    from trl import get_peft_config

    assert get_peft_config(harness.model_config(bad(case), world)) is None


def classifier_adapter_cannot_be_loaded_as_a_language_model(case: Case, world: World, out: Path) -> None:
    """TRL trains on without a word; what it saves says that it is a classifier."""
    from peft import AutoPeftModelForCausalLM

    harness.run(bad(case), world, out).save_model(str(out))
    with pytest.raises(ValueError, match="PeftModelForSequenceClassification"):
        AutoPeftModelForCausalLM.from_pretrained(out)


def only_dpo_and_kto_take_a_reference(case: Case, world: World, out: Path) -> None:
    takes = {name: "ref_model" in inspect.signature(harness.classes(name)[1]).parameters for name in METHODS}
    assert {name for name, taken in takes.items() if taken} == {"dpo", "kto"}


def without_adapter_a_second_model_is_loaded(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).ref_model is not None


def shared_adapter_uses_no_second_model(case: Case, world: World, out: Path) -> None:
    shared = merge(bad(case), {"referenceModel": {"model": None}})
    assert harness.trainer(shared, world, out).ref_model is None


def precompute_keeps_no_reference(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).ref_model is None


def precompute_false_keeps_a_reference(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).ref_model is not None


# what the run dies of: neither TRL nor transformers names the setting that is at fault
DEADLY_INIT_KWARGS = {
    "load_in_4bit": "unexpected keyword argument",
    "load_in_8bit": "unexpected keyword argument",
    "quantization_config": "must be a boolean",
    "device_map": "Cannot copy out of meta tensor",  # the map is taken, where the trainer would place the model itself
}


def sdpa_and_float32(settings: Json) -> Json:
    """The settings with a model section that says both."""
    return merge(settings, {"model": {"dtype": "float32", "attnImplementation": "sdpa"}})


def init_kwargs_override_the_model_section(case: Case, world: World, out: Path) -> None:
    """Each key wins over spec.model without a word, is dropped without a word, or dies in words that name no field."""
    settings = sdpa_and_float32(bad(case))
    [key] = settings[harness.method_of(settings)]["modelInitKwargs"]
    if key == "trust_remote_code":
        _remote_code_runs(settings, world, out)
    elif key in DEADLY_INIT_KWARGS:
        with pytest.raises((TypeError, ValueError, NotImplementedError), match=DEADLY_INIT_KWARGS[key]):
            _loaded(settings, world, out)
    else:
        model = _loaded(settings, world, out)
        assert {
            "dtype": lambda: model.dtype == torch.bfloat16,
            "torch_dtype": lambda: model.dtype == torch.float32,
            "revision": lambda: model.config._attn_implementation == "sdpa",  # loaded, though there is none
            "attn_implementation": lambda: model.config._attn_implementation == "eager",
        }[key]()


def _loaded(settings: Json, world: World, out: Path) -> Any:
    """The policy as TRL loads it by itself, from a name and these arguments."""
    method = harness.method_of(settings)
    if method not in ("orpo", "cpo"):
        return harness.trainer(settings, world, out).model
    from transformers import AutoTokenizer

    path, args = world.path(settings["model"]["modelNameOrPath"]), harness.training_config(settings, out)
    section = {"dtype": "float32", "attn_implementation": "sdpa"}
    args.model_init_kwargs = {**section, **args.model_init_kwargs}
    data, tokenizer = harness.dataset(settings, world)["train"], AutoTokenizer.from_pretrained(world.path("tiny"))
    return harness.classes(method)[1](model=path, args=args, train_dataset=data, processing_class=tokenizer).model


REMOTE_CODE = """
import pathlib
from transformers import LlamaConfig

pathlib.Path(__MARKER__).touch()

class RemoteConfig(LlamaConfig):
    pass
"""


def _remote_code_runs(settings: Json, world: World, out: Path) -> None:
    """spec.model does not trust it (the default), and it runs: a policy on trustRemoteCode would be bypassed."""
    import transformers.dynamic_module_utils as modules

    marker, folder = out / "ran", out / "remote"
    shutil.copytree(world.folder / "tiny", folder)
    (folder / "remote.py").write_text(REMOTE_CODE.replace("__MARKER__", repr(str(marker))))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "remote.RemoteConfig"}}))
    method = harness.method_of(settings)
    there = World(out)
    for kind in ("preference", "unpaired", "language_modeling", "tiny"):
        (out / kind).symlink_to(world.folder / kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "HF_MODULES_CACHE", str(out / "modules"))
        patch.syspath_prepend(str(out / "modules"))
        remote = merge(settings, {"model": {"modelNameOrPath": "remote"}})
        for trusted in (None, True):
            arguments = {"modelInitKwargs": {"trust_remote_code": trusted}}
            with contextlib.suppress(ValueError, OSError, KeyError):  # whether it loads is another matter
                _loaded(merge(remote, {method: arguments}), there, out / f"run-{trusted}")
            assert marker.exists() == bool(trusted)
