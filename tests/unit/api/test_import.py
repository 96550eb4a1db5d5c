"""Recipes of TRL and of the alignment-handbook, and command lines, become AlignmentJobs that the API server takes."""

from pathlib import Path

import pytest
import yaml

from alignment_operator.api.validation import problems
from alignment_operator.importer import Imported, NotImported, imported, main, manifest, method_in
from alignment_operator.manifest import read

TRL_DPO = """
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
dataset_name: trl-lib/ultrafeedback_binarized
learning_rate: 5e-7
use_peft: true
lora_target_modules: all-linear
load_in_4bit: true
bnb_4bit_quant_type: nf4
dtype: bfloat16
beta: 0.1
loss_type: [sigmoid, sft]
loss_weights: [1, 0.5]
precompute_ref_log_probs: true
output_dir: out
"""
HANDBOOK_QLORA = """
model_name_or_path: alignment-handbook/zephyr-7b-sft-qlora
torch_dtype: bfloat16
use_peft: true
load_in_4bit: true
lora_r: 128
dataset_mixer: {HuggingFaceH4/ultrafeedback_binarized: 1.0}
dataset_splits: [train_prefs, test_prefs]
preprocessing_num_workers: 12
bf16: true
beta: 0.01
loss_type: sigmoid
evaluation_strategy: steps
eval_steps: 100
max_prompt_length: 512
warmup_ratio: 0.1
logging_dir: logs
push_to_hub: true
hub_model_id: me/zephyr
report_to: tensorboard
group_by_length: true
"""
HANDBOOK_SFT = """
model_name_or_path: HuggingFaceTB/SmolLM3-3B-Base
dataset_mixture:
  datasets:
    - {id: a/chat, config: en, split: train, columns: [messages], weight: 0.5}
    - {id: b/chat, config: de, split: train, columns: [messages], weight: 0.5}
  test_split_size: 1000
packing: true
max_seq_length: 4096
save_strategy: "no"
eval_strategy: "no"
do_eval: false
lora_r: 16
"""


def convert(text: str, method: str | None = None) -> Imported:
    return imported(read(text)[0], method)


@pytest.mark.parametrize(
    ("text", "method"),
    [(TRL_DPO, None), (HANDBOOK_QLORA, "dpo"), (HANDBOOK_SFT, None)],
    ids=["trl dpo", "handbook qlora", "handbook sft"],
)
def test_an_imported_recipe_is_a_valid_job(text: str, method: str | None) -> None:
    assert problems(manifest("imported", convert(text, method))) == []


def test_names_and_values_are_kept() -> None:
    spec = convert(TRL_DPO).spec
    assert spec["model"]["loraTargetModules"] == ["all-linear"]
    assert spec["model"]["bnb4bitQuantType"] == "nf4"
    assert spec["training"] == {"learningRate": 5e-7}
    assert spec["dpo"]["lossWeights"] == [1, 0.5]


def test_old_names_are_translated() -> None:
    result = convert(HANDBOOK_QLORA, "dpo")
    assert result.spec["model"]["dtype"] == "bfloat16"
    assert result.spec["training"]["warmupSteps"] == 0.1
    assert result.spec["training"]["evalStrategy"] == "steps"
    assert result.spec["training"]["trainSamplingStrategy"] == "group_by_length"
    assert result.spec["dpo"] == {"datasetNumProc": 12, "beta": 0.01, "lossType": ["sigmoid"]}
    assert result.spec["dataset"]["datasetName"] == "HuggingFaceH4/ultrafeedback_binarized"
    assert manifest("a", result)["spec"]["output"]["push"]["repository"] == "me/zephyr"


@pytest.mark.parametrize("name", ["max_prompt_length", "logging_dir", "torch_dtype", "warmup_ratio", "push_to_hub"])
def test_whatever_is_not_taken_over_as_it_was_is_named(name: str) -> None:
    assert any(note.startswith(f"{name}:") for note in convert(HANDBOOK_QLORA, "dpo").notes)


def test_a_mixture_of_the_handbook_becomes_trls() -> None:
    dataset = convert(HANDBOOK_SFT).spec["dataset"]
    assert dataset["testSplitSize"] == 1000
    assert dataset["datasets"][0] == {
        "path": "a/chat",
        "name": "en",
        "split": "train",
        "columns": ["messages"],
        "fraction": 0.5,
    }


HANDBOOK_MIXER = """
model_name_or_path: a/model
dataset_mixer: {a/one: 0.5, b/two: 0.5}
dataset_splits: [train_prefs, train_gen, test_prefs]
beta: 0.1
"""


def test_the_train_splits_of_a_mixer_are_those_of_its_datasets() -> None:
    result = convert(HANDBOOK_MIXER, "dpo")
    assert problems(manifest("mixed", result)) == []
    assert [(part["path"], part["split"]) for part in result.spec["dataset"]["datasets"]] == [
        ("a/one", "train_prefs"),
        ("a/one", "train_gen"),
        ("b/two", "train_prefs"),
        ("b/two", "train_gen"),
    ]
    assert any(note.startswith("dataset_splits: test_prefs left out") for note in result.notes)


def test_of_one_dataset_one_split_is_used_and_the_others_are_named() -> None:
    result = convert(HANDBOOK_MIXER.replace("a/one: 0.5, b/two: 0.5", "a/one: 1.0"), "dpo")
    assert result.spec["dataset"] == {
        "datasetName": "a/one",
        "datasetTrainSplit": "train_prefs",
        "datasetTestSplit": "test_prefs",
    }
    assert any(note.startswith("dataset_splits: train_gen left out") for note in result.notes)


def test_one_split_may_be_a_plain_text() -> None:
    recipe = "model_name_or_path: a\ndataset_mixer: {b: 1}\ndataset_splits: train_sft"
    assert convert(recipe, "sft").spec["dataset"] == {"datasetName": "b", "datasetTrainSplit": "train_sft"}


def test_of_an_old_and_a_new_name_the_new_one_counts_and_the_old_one_is_named() -> None:
    result = convert("model_name_or_path: a\ndataset_name: b\nmax_length: 512\nmax_seq_length: 1024", "sft")
    assert result.spec["sft"] == {"maxLength": 512}
    assert any(note.startswith("max_seq_length: left out") for note in result.notes)


def test_a_repository_without_owner_gets_a_place_for_one() -> None:
    result = convert("model_name_or_path: a\ndataset_name: b\npush_to_hub: true\nhub_model_id: zephyr", "dpo")
    assert result.spec["output"]["push"]["repository"] == "OWNER/zephyr"
    assert "spec.output.push.repository: name its owner" in result.notes


def test_lora_settings_without_peft_are_left_out_and_named() -> None:
    result = convert(HANDBOOK_SFT)
    assert "loraR" not in result.spec["model"]
    assert any(note.startswith("lora_r:") for note in result.notes)


@pytest.mark.parametrize(
    ("text", "method", "says"),
    [
        ("model_name_or_path: a\ndataset_name: b", None, "--method"),
        (
            "model_name_or_path: a\nlearning_rat: 1",
            "dpo",
            "learning_rat: not a field of TRL 1.16.0: did you mean learning_rate",
        ),
        ("apiVersion: alignment-operator.io/v1alpha1\nkind: AlignmentJob", "dpo", "a manifest already: .* render -f"),
        ("distributed_type: FSDP\nnum_processes: 8", None, "a configuration of accelerate.* spec.gpusPerNode"),
        ("model_name_or_path: a\npacking: true", "dpo", "not a field of dpo but of sft"),
    ],
)
def test_what_cannot_be_imported_is_named_with_the_cure(text: str, method: str | None, says: str) -> None:
    with pytest.raises(NotImported, match=says):
        convert(text, method)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("recipes/zephyr-7b-beta/dpo/config_qlora.yaml", "dpo"),
        ("kto-from-feedback.yaml", "kto"),
        ("sft/dpo.yaml", None),
        ("recipes/model/config.yaml", None),
    ],
)
def test_a_recipes_path_may_tell_the_method(path: str, method: str | None) -> None:
    assert method_in(path) == method


@pytest.mark.parametrize(
    ("line", "method", "spec", "note"),
    [
        ("padding_free: true", "dpo", {"dpo": {"beta": 0.1}}, "padding_free: left out"),
        ("packing_strategy: ffd", "sft", {"sft": {"packingStrategy": "bfd"}}, "packing_strategy: ffd is bfd"),
        ("dataset_kwargs: {add_special_tokens: false}", "sft", {}, "dataset_kwargs.add_special_tokens: left out"),
        ("attn_implementation: flash_attention_2", "sft", {}, "spec.model.attnImplementation: the trainer's image has"),
        ("use_cpu: true", "dpo", {"gpusPerNode": 0}, ""),
        ("eval_strategy: no", "dpo", {"training": {"evalStrategy": "no"}}, ""),
    ],
)
def test_values_that_todays_trl_reads_differently_are_translated(
    line: str, method: str, spec: dict[str, dict[str, object]], note: str
) -> None:
    beta = "beta: 0.1\n" if method == "dpo" else ""
    result = convert(f"model_name_or_path: a\ndataset_name: b\n{beta}{line}", method)
    assert result.spec.items() >= spec.items()
    assert problems(manifest("imported", result)) == []
    assert any(told.startswith(note) for told in result.notes)


COMMAND = """trl dpo --model_name_or_path Qwen/Qwen3-8B --dataset_name trl-lib/pairs --learning_rate=5e-7
--use_peft --lora_target_modules q_proj v_proj --no_gradient_checkpointing --report_to none
--gradient_checkpointing_kwargs {"use_reentrant":false} --num_machines 2 --num_processes 16"""


def test_a_command_line_of_trl_becomes_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--name", "qwen", *COMMAND.split()]) == 0
    printed = capsys.readouterr()
    job = yaml.safe_load(printed.out)
    assert problems(job) == []
    assert job["metadata"]["name"] == "qwen"
    assert job["spec"]["model"] == {
        "modelNameOrPath": "Qwen/Qwen3-8B",
        "usePeft": True,
        "loraTargetModules": ["q_proj", "v_proj"],
    }
    assert job["spec"]["training"] == {
        "learningRate": 5e-7,
        "gradientCheckpointing": False,
        "reportTo": ["none"],
        "gradientCheckpointingKwargs": {"use_reentrant": False},
    }
    assert (job["spec"]["dpo"], job["spec"]["nodes"], job["spec"]["gpusPerNode"]) == ({}, 2, 8)


def test_a_flag_counts_before_the_file_that_config_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model_name_or_path: a\ndataset_name: b\nbeta: 0.1\nlearning_rate: 1e-6\n")
    assert main(["trl", "kto", "--config", str(recipe), "--beta", "0.3", "--accelerate_config", "zero3"]) == 0
    printed = capsys.readouterr()
    spec = yaml.safe_load(printed.out)["spec"]
    assert (spec["kto"], spec["training"]) == ({"beta": 0.3}, {"learningRate": 1e-6})
    assert "# accelerate_config zero3: left out; write spec.nodes" in printed.err


def test_what_the_api_server_would_refuse_is_told_with_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trl", "dpo", "--model_name_or_path", "a", "--dataset_name", "b", "--dtype", "bf16"]) == 0
    assert "# refused as it stands: spec.model.dtype: Unsupported value" in (told := capsys.readouterr().err)
    assert "(did you mean bfloat16?)" in told


@pytest.mark.parametrize("words", [[], ["recipe.yaml", "trl", "dpo"]])
def test_import_wants_one_recipe_or_one_command_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert "give one recipe, or a command line" in capsys.readouterr().err
