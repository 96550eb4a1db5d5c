"""What recipe.yaml and run.yaml may say, and what a user is told when they say something else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from alignment_trainer import config, exits, run_config

CONTRACT = Path(__file__).parents[3] / "docs/contract"
SCHEMA = json.loads((CONTRACT / "run.schema.json").read_text())
EXAMPLE = yaml.safe_load((CONTRACT / "run.example.yaml").read_text())


def with_field(path: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(EXAMPLE)
    *parents, last = path.split(".")
    target = content
    for parent in parents:
        target = target[parent]
    target[last] = value
    return content


def accepts(content: dict[str, Any], tmp_path: Path) -> bool:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        run_config.load_run_config(path)
    except exits.UserError:
        return False
    return True


@pytest.mark.parametrize(
    "content",
    [
        EXAMPLE,
        {k: v for k, v in EXAMPLE.items() if k in SCHEMA["required"]},
        {k: v for k, v in EXAMPLE.items() if k != "device"},
        with_field("contractVersion", 2),
        with_field("method", "ppo"),
        with_field("device", "tpu"),
        with_field("nodes", 0),
        with_field("job.run", 0),
        with_field("job.owner", "x"),
        with_field("surprise", 1),
        with_field("referenceModel.strategy", "Frozen"),
        with_field("referenceModel.strategy", "Precomputed"),
        with_field("push", {"repository": "a/b"}),
        with_field("push", {"private": True}),
        with_field("hangTimeoutSeconds", 0),
    ],
    ids=lambda content: json.dumps(content)[-60:],
)
def test_run_yaml_is_accepted_exactly_when_the_contracts_schema_accepts_it(content, tmp_path):
    assert accepts(content, tmp_path) == jsonschema.Draft202012Validator(SCHEMA).is_valid(content)


def test_every_field_of_the_contract_is_read_with_its_default():
    assert set(run_config.RunConfig.model_fields) == set(SCHEMA["properties"])
    for name, field in run_config.RunConfig.model_fields.items():
        if "default" in SCHEMA["properties"][name]:
            assert field.default == SCHEMA["properties"][name]["default"], name


def test_a_newer_contract_names_the_version_that_this_trainer_speaks(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("contractVersion: 2\nnewField: true\n")
    with pytest.raises(exits.UserError, match=r"contractVersion 2; this trainer speaks version 1") as caught:
        run_config.load_run_config(path)
    assert "spec.image" in caught.value.cure


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("learning_rate: 5e-7", "learning_rate", 5e-7),
        ("learning_rate: 1E3", "learning_rate", 1000.0),
        ("learning_rate: 2", "learning_rate", 2),
        ("lr_scheduler_kwargs: {num_cycles: 5e-1}", "lr_scheduler_kwargs", {"num_cycles": 0.5}),
        ("loss_type: [sigmoid, sft]\nloss_weights: [1e-1, 2]", "loss_weights", [0.1, 2]),
        ("loss_type: sigmoid_norm", "loss_type", ["sigmoid_norm"]),
    ],
)
def test_numbers_are_numbers_however_yaml_spells_them(bench, tmp_path, text, field, value):
    recipe_path, run_path = bench.files(bench.recipe(learning_rate=None))
    recipe_path.write_text(f"{recipe_path.read_text()}\n{text}\n")
    parsed = getattr(config.load_config(recipe_path, run_path).training_args, field)
    assert parsed == value
    assert not isinstance(parsed, str)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"learning_rat": 1}, "unknown key `learning_rat`. Did you mean `learning_rate`?"),
        ({"env": {"A": "b"}}, "unknown key `env`. Set environment variables in spec.podTemplate."),
        ({"max_prompt_length": 512}, "unknown key `max_prompt_length`"),
        ({"beta": "high"}, "spec.dpo.beta: 'high' is not valid"),
        ({"max_steps": 2.5}, "spec.training.maxSteps: 2.5 is not valid"),
        ({"load_in_4bit": "perhaps"}, "spec.model.loadIn4bit: 'perhaps' is not valid"),
        ({"lora_target_modules": 3}, "spec.model.loraTargetModules: 3 is not valid"),
        ({"dtype": "bf16"}, "spec.model.dtype: 'bf16' is not one of auto, bfloat16, float16, float32"),
        ({"bnb_4bit_quant_type": "nf5"}, "spec.model.bnb4bitQuantType: 'nf5' is not one of fp4, nf4"),
        ({"dataset_streaming": [1]}, "spec.dataset.datasetStreaming"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "TRL refuses the recipe: You can't use 8 bit and 4 bit"),
        ({"eval_strategy": "sometimes"}, "sometimes"),
        ({"deepspeed": '{"zero_optimization": {"stage": 3}}'}, "spec.training.deepspeed is set, but this image has no"),
        ({"output_dir": "/elsewhere"}, "output_dir '/elsewhere' is not the run's outputPath"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_recipe_that_cannot_be_meant_is_refused_by_the_users_name_of_the_field(bench, fields, says):
    paths = bench.files(bench.recipe(**fields), outputPath=str(bench.root / "out-refused"))
    if "output_dir" not in fields:
        paths = bench.files(bench.recipe(**fields))
    with pytest.raises(exits.UserError) as caught:
        config.load_config(*paths)
    assert says in str(caught.value)
    assert caught.value.cure


@pytest.mark.parametrize("content", ["- a list", "key: [unclosed", None], ids=["list", "broken", "missing"])
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path, content):
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(exits.UserError, match=r"run\.yaml"):
        run_config.load_run_config(path)


@pytest.mark.parametrize(
    ("targets", "parsed"),
    [
        (["q_proj"], ["q_proj"]),
        ("all-linear", "all-linear"),
        (["all-linear"], "all-linear"),
        (["q_proj", "v_proj"], ["q_proj", "v_proj"]),
        (r".*\.q_proj", r".*\.q_proj"),
    ],
    ids=str,
)
def test_one_lora_target_is_a_module_and_no_regular_expression(bench, targets, parsed):
    recipe = bench.recipe(use_peft=True, lora_target_modules=targets)
    assert config.load_config(*bench.files(recipe)).model_args.lora_target_modules == parsed


@pytest.mark.parametrize(
    ("method", "run", "recipe", "expected"),
    [
        ("dpo", {}, {"use_cpu": None}, {"use_cpu": True}),
        ("dpo", {"referenceModel": {"strategy": "Precomputed"}}, {}, {"precompute_ref_log_probs": True}),
        ("dpo", {"referenceModel": {"strategy": "Resident"}}, {}, {"precompute_ref_log_probs": False}),
        ("reward", {}, {}, {"lora_task_type": "SEQ_CLS"}),
        ("sft", {}, {}, {"lora_task_type": "CAUSAL_LM"}),
    ],
    ids=str,
)
def test_what_follows_from_run_yaml_is_in_the_parsed_recipe(bench, method, run, recipe, expected):
    loaded = config.load_config(*bench.files(bench.recipe(**recipe), method, **run))
    for name, value in expected.items():
        owner = loaded.model_args if hasattr(loaded.model_args, name) else loaded.training_args
        assert getattr(owner, name) == value
