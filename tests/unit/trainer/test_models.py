"""get_model and get_reference_model: what is loaded, how, and what is refused before anything is."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from alignment_trainer import config, exits, models, quantization, train
from alignment_trainer.attention import check_attention
from tests.tiny import tiny_model
from tests.trainer_runs import LORA, Bench


def arguments(bench: Bench, method: str = "dpo", run: dict[str, Any] | None = None, **fields: Any) -> config.Config:
    return config.load_config(*bench.files(bench.recipe(**fields), method, **(run or {})))


def policy(bench: Bench, method: str = "dpo", **fields: Any) -> Any:
    loaded = arguments(bench, method, **fields)
    return models.get_model(loaded.model_args, loaded.training_args)


def reference(bench: Bench, run: dict[str, Any], **fields: Any) -> Any:
    loaded = arguments(bench, run={"referenceModel": run}, **fields)
    return models.get_reference_model(loaded.run, loaded.model_args, loaded.training_args)


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({}, "float32"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16"}, "float16"),
        ({"dtype": "auto"}, "float32"),
    ],
    ids=["default", "bf16", "fp16", "auto"],
)
def test_weights_have_the_dtype_that_the_recipe_names(bench, fields, dtype):
    assert str(policy(bench, **fields).dtype) == f"torch.{dtype}"


def test_the_cache_is_off_exactly_with_gradient_checkpointing(bench):
    assert policy(bench, gradient_checkpointing=True).config.use_cache is False
    assert policy(bench, gradient_checkpointing=False).config.use_cache is True


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_is_the_one_asked_for(bench, attention):
    assert policy(bench, attn_implementation=attention).config._attn_implementation == attention


@pytest.mark.parametrize(
    ("fields", "layer", "expected"),
    [
        ({"load_in_8bit": True}, "Linear8bitLt", {}),
        ({"load_in_4bit": True}, "Linear4bit", {"quant_type": "nf4", "compute": "float32", "nested": False}),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "use_bnb_nested_quant": True, "dtype": "bfloat16"},
            "Linear4bit",
            {"quant_type": "fp4", "compute": "bfloat16", "nested": True},
        ),
        ({"load_in_4bit": True, "dtype": "auto"}, "Linear4bit", {"compute": "float32"}),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}, "Linear4bit", {"storage": "bfloat16"}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
)
def test_linear_layers_are_quantized_as_the_recipe_says(bench, fields, layer, expected):
    linear = policy(bench, **LORA, **fields).model.layers[0].self_attn.q_proj
    assert type(linear).__name__ == layer
    assert linear.weight.device.type == "cpu"
    if layer == "Linear4bit":
        state = linear.weight.quant_state
        found = {
            "quant_type": state.quant_type,
            "compute": str(linear.compute_dtype).removeprefix("torch."),
            "nested": state.nested,
            "storage": str(linear.weight.quant_storage).removeprefix("torch."),
        }
        assert {key: found[key] for key in expected} == expected


def test_four_bits_with_dtype_auto_compute_in_the_checkpoints_dtype(bench, tmp_path):
    shutil.copytree(bench.model, tmp_path / "model")
    settings = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps({**settings, "dtype": "bfloat16"}))
    loaded = arguments(bench, model_name_or_path=str(tmp_path / "model"), load_in_4bit=True, dtype="auto")
    assert str(quantization.resolve_dtype(loaded.model_args, loaded.training_args)) == "torch.bfloat16"


def test_a_reward_model_is_a_classifier_with_one_label(bench):
    model = policy(bench, "reward")
    assert type(model).__name__ == "LlamaForSequenceClassification"
    assert model.num_labels == 1


def test_the_architecture_is_that_of_the_revision(bench, monkeypatch):
    """TRL reads the config of `main` to choose the class, whatever revision the weights come from."""
    import transformers

    asked = []
    original = transformers.AutoConfig.from_pretrained

    def recording(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs.get("revision"))
        return original(*args, **kwargs)

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", recording)
    policy(bench, model_revision="v2")
    assert asked[0] == "v2"


@pytest.mark.parametrize(
    ("attention", "device", "says"),
    [
        ("flash_attention_2", "cpu", "needs a GPU"),
        ("flash_attention_3", "cpu", "needs a GPU"),
        ("flex_attention", "cpu", "no backward pass on the CPU"),
        ("flash_attention_2", "gpu", "flash-attn is not installed"),
        ("kernels-community/flash-attn", "gpu", "package `kernels`"),
        ("quick", "cpu", "knows no attention of that name"),
    ],
)
def test_an_attention_that_this_machine_lacks_is_refused_with_the_reason(attention, device, says):
    with pytest.raises(exits.UserError, match=says) as caught:
        check_attention(attention, device)
    assert "spec.model.attnImplementation" in str(caught.value)


@pytest.mark.parametrize("attention", [None, "eager", "sdpa"])
def test_attention_that_every_machine_has_is_accepted(attention):
    check_attention(attention, "cpu")
    check_attention("flex_attention", "gpu")


@pytest.mark.parametrize(
    ("fields", "run", "error", "says"),
    [
        ({"attn_implementation": "flash_attention_2"}, {}, exits.UserError, "spec.model.attnImplementation"),
        (
            {},
            {"referenceModel": {"strategy": "Resident", "model": {"attn_implementation": "flex_attention"}}},
            exits.UserError,
            "spec.referenceModel.model.attnImplementation",
        ),
        ({"load_in_4bit": True}, {}, exits.UserError, "spec.model.loadIn4bit without an adapter"),
        ({"load_in_8bit": True}, {}, exits.UserError, "spec.model.loadIn8bit without an adapter"),
    ],
    ids=["attention", "reference attention", "4bit", "8bit"],
)
def test_the_impossible_is_refused_before_data_and_model_are_looked_at(bench, fields, run, error, says):
    recipe = bench.recipe(model_name_or_path="/no/model", dataset_name="/no/data", **fields)
    with pytest.raises(error, match=says):
        train.run(*bench.files(recipe, **run))


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"model_name_or_path": "/no/such/model"}, exits.ModelUnavailable, "there is no folder /no/such/model"),
        ({"model_name_or_path": None}, exits.UserError, "spec.model.modelNameOrPath is not set"),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "float7"}, exits.UserError, "bnb4bitQuantStorage"),
    ],
    ids=["missing", "unset", "storage"],
)
def test_a_model_that_cannot_be_loaded_names_its_field(bench, fields, error, says):
    with pytest.raises(error, match=says) as caught:
        policy(bench, **fields)
    assert caught.value.cure


RESIDENT, SHARED, PRECOMPUTED = ({"strategy": name} for name in ("Resident", "SharedAdapter", "Precomputed"))


@pytest.mark.parametrize(
    ("run", "fields", "is_loaded"),
    [
        ({}, {}, True),
        ({}, LORA, False),
        ({}, {"precompute_ref_log_probs": True}, False),
        (SHARED, LORA, False),
        (RESIDENT, {}, True),
        (RESIDENT, LORA, True),
        (PRECOMPUTED, {}, False),
        ({"model": {"load_in_8bit": True}}, LORA, True),
        ({**PRECOMPUTED, "model": {"dtype": "bfloat16"}}, {}, True),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_second_model_is_loaded_only_where_the_strategy_needs_one(bench, run, fields, is_loaded):
    loaded = reference(bench, run, **fields)
    assert (loaded is not None) == is_loaded
    if is_loaded:
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_reference_takes_from_the_policy_what_it_does_not_say_itself(bench, tmp_path):
    other = str(tiny_model(tmp_path / "other", seed=7))
    fields = {**LORA, "load_in_4bit": True, "dtype": "bfloat16", "attn_implementation": "eager", "model_revision": "v2"}
    loaded = arguments(bench, **fields)
    same, _ = models.reference_model_args(loaded.model_args, loaded.training_args, {"load_in_8bit": True})
    assert (same.load_in_8bit, same.load_in_4bit, same.dtype, same.model_revision) == (True, False, "bfloat16", "v2")
    own, trusts = models.reference_model_args(
        loaded.model_args, loaded.training_args, {"model_name_or_path": other, "trust_remote_code": True}
    )
    assert (own.model_name_or_path, own.model_revision, own.load_in_4bit) == (other, "main", True)
    assert (own.attn_implementation, trusts) == ("eager", True)


@pytest.mark.parametrize(
    ("run", "fields", "says"),
    [
        (SHARED, {}, "SharedAdapter, but the run trains no adapter"),
        ({**SHARED, "model": {"dtype": "bfloat16"}}, LORA, "cannot be combined with strategy SharedAdapter"),
        ({"model": {"colour": "red"}}, {}, "unknown fields: colour"),
        ({"model": {"model_name_or_path": "/no/model"}}, {}, "there is no folder /no/model"),
    ],
    ids=["no adapter", "own model", "unknown field", "missing"],
)
def test_a_reference_that_makes_no_sense_is_refused(bench, run, fields, says):
    with pytest.raises(exits.TrainerError, match=says):
        reference(bench, run, **fields)


def test_a_reference_with_fewer_tokens_is_refused(bench, tmp_path):
    import transformers

    small = transformers.LlamaConfig.from_pretrained(str(bench.model), vocab_size=100)
    transformers.LlamaForCausalLM(small).save_pretrained(tmp_path / "small")
    run = {"referenceModel": {"model": {"model_name_or_path": str(tmp_path / "small")}}}
    with pytest.raises(exits.UserError, match="knows 100 tokens"):
        bench.run(bench.recipe(max_steps=1), **run)


def test_a_quantized_resident_reference_shifts_the_first_loss_off_ln_2(bench):
    run = {"referenceModel": {"strategy": "Resident", "model": {"load_in_4bit": True}}}
    first = bench.run(bench.recipe(max_steps=1), **run).losses[0]
    assert first != pytest.approx(0.693147, abs=1e-5)
    assert first == pytest.approx(0.693147, abs=0.2)


def test_a_precomputed_reference_gives_the_losses_of_a_resident_one_and_is_freed(bench):
    own = {"model_name_or_path": str(tiny_model(bench.root / "other", seed=3))}
    resident = bench.run(bench.recipe(), referenceModel={"strategy": "Resident", "model": own})
    precomputed = bench.run(bench.recipe(), referenceModel={"strategy": "Precomputed", "model": own})
    assert precomputed.losses == pytest.approx(resident.losses, abs=1e-5)
    assert precomputed.losses[0] != pytest.approx(0.693147, abs=1e-3)
    assert resident.trainer.ref_model is not None
    assert precomputed.trainer.ref_model is None


def gradients_of_base(model: Any) -> float:
    """Norm of the gradient that passes through all quantized layers, down to the embeddings."""
    import torch

    embeddings = model.get_input_embeddings()
    embeddings.weight.requires_grad_(True)
    embeddings.weight.grad = None
    model.train()
    tokens = torch.arange(8).reshape(1, 8)
    model(input_ids=tokens, labels=tokens).loss.backward()
    return embeddings.weight.grad.norm().item()


def test_an_evaluation_does_not_cut_the_gradient_of_four_bit_layers(bench, monkeypatch):
    """bitsandbytes repacks weights in eval mode for a kernel without autograd, on CPUs that say they have it."""
    import bitsandbytes
    import torch

    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    model = policy(bench, load_in_4bit=True, gradient_checkpointing=False)
    before = gradients_of_base(model)
    model.eval()
    with torch.no_grad():
        model(input_ids=torch.arange(8).reshape(1, 8))
    assert gradients_of_base(model) == pytest.approx(before, rel=1e-5)


def test_four_bit_training_is_the_same_with_and_without_evaluation(bench):
    fields = {**LORA, "load_in_4bit": True}
    plain = bench.run(bench.recipe(**fields))
    evaluated = bench.run(bench.recipe(**fields, eval_strategy="steps", eval_steps=1, eval_on_start=True))
    norms = [
        [entry["grad_norm"] for entry in o.trainer.state.log_history if "grad_norm" in entry]
        for o in (plain, evaluated)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert plain.losses == pytest.approx(evaluated.losses, abs=1e-5)
