"""Recipes of TRL and of the alignment-handbook become AlignmentJobs that the API server would take."""

import pytest

from alignment_operator.api.validation import problems
from alignment_operator.importer import Imported, NotImported, imported, manifest
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
        ("model_name_or_path: a\nlearning_rat: 1", "dpo", "learning_rat: not a field of TRL"),
        ("model_name_or_path: a\npacking: true", "dpo", "not a field of dpo but of sft"),
    ],
)
def test_what_cannot_be_imported_is_named_with_the_cure(text: str, method: str | None, says: str) -> None:
    with pytest.raises(NotImported, match=says):
        convert(text, method)
