"""Where TRL checks nothing: how a run without the rule dies, or does something else than the spec says.

Each function is named by what it shows, takes a case of the table, and fails if it is not so.
"""

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from alignment_operator.api.spec import Spec
from tests.contract.rules import harness
from tests.contract.rules.harness import World
from tests.rule_cases import Case, Json, merge, spec


def bad(case: Case) -> Json:
    """The spec that breaks the rule."""
    return spec(case.bad)


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


def init_kwargs_override_the_model_section(case: Case, world: World, out: Path) -> None:
    """TRL's scripts merge them over ModelConfig; `from_pretrained` takes them, or drops or refuses the old names."""
    import trl.scripts.dpo
    from trl.trainer.utils import create_model_from_path

    [(key, value)] = bad(case)[harness.method_of(bad(case))]["modelInitKwargs"].items()
    assert "model_init_kwargs.update(training_args.model_init_kwargs)" in inspect.getsource(trl.scripts.dpo.main)
    path = world.path("tiny")
    if key in ("load_in_4bit", "load_in_8bit"):
        with pytest.raises(TypeError, match=key):
            create_model_from_path(path, **{key: value})
    elif key == "dtype":
        assert create_model_from_path(path, dtype="bfloat16").dtype == torch.bfloat16
    elif key == "torch_dtype":
        assert create_model_from_path(path, torch_dtype="bfloat16").dtype == torch.float32


def only_dpo_and_kto_take_a_reference(case: Case, world: World, out: Path) -> None:
    takes = {name: "ref_model" in inspect.signature(harness.classes(name)[1]).parameters for name in METHODS}
    assert {name for name, taken in takes.items() if taken} == {"dpo", "kto"}


METHODS = ("dpo", "sft", "orpo", "cpo", "kto", "reward")


def without_adapter_a_second_model_is_loaded(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).ref_model is not None


def shared_adapter_uses_no_second_model(case: Case, world: World, out: Path) -> None:
    shared = merge(bad(case), {"referenceModel": {"model": None}})
    assert harness.trainer(shared, world, out).ref_model is None


def precompute_keeps_no_reference(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).ref_model is None


def precompute_false_keeps_a_reference(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).ref_model is not None


def no_method_no_trainer(case: Case, world: World, out: Path) -> None:
    with pytest.raises(StopIteration):
        harness.method_of(bad(case))


def two_methods_one_is_ignored(case: Case, world: World, out: Path) -> None:
    assert Spec.model_validate(bad(case)).method == "dpo"
    assert "sft" in bad(case)


def length_zero_trains_nothing(case: Case, world: World, out: Path) -> None:
    """It dies, or every row is dropped, or nothing is learned (no loss, or a gradient of zero)."""
    try:
        history = harness.run(merge(bad(case), {"training": {"loggingSteps": 1}}), world, out).state.log_history
    except Exception:
        return
    first = history[0]
    assert "loss" not in first or math.isnan(first["loss"]) or 0.0 in (first["grad_norm"], first["loss"])


def no_limit_means_512(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).max_length == 512


def sync_mixes_two_models(case: Case, world: World, out: Path) -> None:
    from transformers import AutoModelForCausalLM

    named = AutoModelForCausalLM.from_pretrained(world.path("other"))
    after = harness.run(merge(bad(case), {"training": {"maxSteps": 2}}), world, out).ref_model
    assert not torch.allclose(named.lm_head.weight, after.lm_head.weight.cpu().float())


def robust_divides_by_zero(case: Case, world: World, out: Path) -> None:
    settings = merge(bad(case), {"training": {"loggingSteps": 1, "loggingNanInfFilter": False}})
    try:
        loss = harness.run(settings, world, out).state.log_history[0]["loss"]
    except ZeroDivisionError:
        return
    assert loss in (float("inf"), float("-inf")) or loss != loss


def dpo_pads_all_the_same(case: Case, world: World, out: Path) -> None:
    assert harness.trainer(bad(case), world, out).padding_free is False


def alphapo_overwrites_alpha(case: Case, world: World, out: Path) -> None:
    assert harness.training_config(bad(case), out).cpo_alpha == 0.0


def flex_attention_has_no_cpu_backward(case: Case, world: World, out: Path) -> None:
    from torch.nn.attention.flex_attention import flex_attention

    query = torch.randn(1, 1, 16, 16, requires_grad=True)
    with pytest.raises(NotImplementedError, match="CPU"):
        torch.compile(flex_attention)(query, query, query).sum().backward()


def nccl_needs_gpus(case: Case, world: World, out: Path) -> None:
    import torch.distributed as dist

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    store = dist.HashStore()
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)gpu|nccl"):
        dist.init_process_group("nccl", store=store, rank=0, world_size=1)


def zero_steps_train_one(case: Case, world: World, out: Path) -> None:
    """Neither none nor all: one step, and then a state that no success rule knows (1 step of 0)."""
    state = harness.run(merge(bad(case), {"training": {"numTrainEpochs": 1}}), world, out).state
    assert (state.global_step, state.max_steps) == (1, 0)


def zero_save_steps_write_no_checkpoint(case: Case, world: World, out: Path) -> None:
    harness.run(merge(bad(case), {"training": {"maxSteps": 3}}), world, out)
    assert "checkpoint-1" not in {path.name for path in out.glob("checkpoint-*")}


def best_without_eval_saves_nothing(case: Case, world: World, out: Path) -> None:
    harness.run(bad(case), world, out)
    assert not list(out.glob("checkpoint-*"))


def resume_without_optimizer_differs(case: Case, world: World, out: Path) -> None:
    def last_weights(only_model: bool) -> list[Any]:
        folder = out / str(only_model)
        settings = {"maxSteps": 4, "saveSteps": 2, "learningRate": 0.01, "saveOnlyModel": only_model}
        straight = harness.run(merge(bad(case), {"training": settings}), world, folder)
        resumed = harness.trainer(merge(bad(case), {"training": settings}), world, folder)
        resumed.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
        return [straight.model.lm_head.weight, resumed.model.lm_head.weight]

    assert torch.equal(*last_weights(False))
    assert not torch.equal(*last_weights(True))


def the_new_checkpointing_name_wins(case: Case, world: World, out: Path) -> None:
    section, config = harness.snake(bad(case)["training"]), harness.training_config(bad(case), out)
    for name in ("checkpointing", "checkpointing_kwargs"):
        if f"activation_{name}" in section:
            assert getattr(config, f"gradient_{name}") == section[f"activation_{name}"]
            assert section[f"gradient_{name}"] != section[f"activation_{name}"]


def fsdp_and_deepspeed_exclude_each_other(case: Case, world: World, out: Path) -> None:
    from transformers import Trainer

    assert "Using --fsdp xxx together with --deepspeed is not possible" in inspect.getsource(Trainer)


def deepspeed_text_is_a_path(case: Case, world: World, out: Path) -> None:
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    with pytest.raises(ValueError, match="path to an existing"):
        HfDeepSpeedConfig(bad(case)["training"]["deepspeed"])


def optimizer_asks_for_targets(case: Case, world: World, out: Path) -> None:
    with pytest.raises((ValueError, ImportError), match=r"optim_target_modules|galore|apollo"):
        harness.run(bad(case), world, out)


def the_mixture_hides_the_name(case: Case, world: World, out: Path) -> None:
    import trl.scripts.dpo

    assert "`dataset_name` will be ignored" not in bad(case)
    assert "dataset_name` will be ignored" in inspect.getsource(trl.scripts.dpo.main).replace('"\n            "', "")


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


def processes_and_gpus_differ(case: Case, world: World, out: Path) -> None:
    """One process that sees two GPUs is refused by TRL; a process without a GPU of its own shares one, or dies."""
    settings = bad(case)
    if settings["processesPerNode"] > settings["gpusPerNode"]:
        assert max(range(settings["processesPerNode"])) not in range(settings["gpusPerNode"])
        return
    from trl import DPOTrainer

    assert "does not support `nn.DataParallel`" in inspect.getsource(DPOTrainer.__init__)
