"""spec -> recipe.yaml and run.yaml: only what the user wrote, in TRL's words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from alignment_operator.observed import UpstreamView
from alignment_operator.problems import SpecProblem
from alignment_operator.recipe import Recipe, build
from alignment_operator.settings import Settings
from tests.unit.operator.builders import CLAIM, alignment_job

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/contract/run.schema.json").read_text())
SETTINGS = Settings()


def recipe_of(**spec: Any) -> Recipe:
    return build(alignment_job(**spec), 1, SETTINGS)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"gpusPerNode": 0}, {"use_cpu": True}, id="no-GPU-is-TRLs-use_cpu"),
        pytest.param({"gpusPerNode": 1}, {"use_cpu": None}, id="a-GPU-needs-no-word"),
        pytest.param(
            {"model": {"modelNameOrPath": "m", "trustRemoteCode": True}}, {"trust_remote_code": True}, id="remote-code"
        ),
        pytest.param(
            {"model": {"modelNameOrPath": "m", "trustRemoteCode": False}},
            {"trust_remote_code": None},
            id="no-remote-code",
        ),
        pytest.param({"training": {"numTrainEpochs": 3.0}}, {"num_train_epochs": 3}, id="whole-numbers-are-integers"),
        pytest.param({"training": {"learningRate": 5e-7}}, {"learning_rate": 5e-7}, id="small-numbers-stay"),
        pytest.param(
            {"training": {"lrSchedulerKwargs": {"num_cycles": 2.0}}},
            {"lr_scheduler_kwargs": {"num_cycles": 2}},
            id="keys-in-maps-are-TRLs",
        ),
        pytest.param({"dpo": {"maxLength": 512}}, {"max_length": 512}, id="max-length"),
        pytest.param(
            {"dpo": {"lossType": ["sigmoid", "sft"], "lossWeights": [1.0, 0.5]}},
            {"loss_type": ["sigmoid", "sft"], "loss_weights": [1, 0.5]},
            id="loss-mixture",
        ),
        pytest.param(
            {"dataset": {"datasets": [{"path": "a", "dataDir": "d"}, {"path": "b"}], "testSplitSize": 0.1}},
            {"datasets": [{"path": "a", "data_dir": "d"}, {"path": "b"}], "test_split_size": 0.1},
            id="mixture",
        ),
        pytest.param(
            {"referenceModel": {"strategy": "Precomputed"}},
            {"precompute_ref_log_probs": True},
            id="precomputed-is-TRLs-switch",
        ),
        pytest.param(
            {"dpo": None, "reward": {}, "model": {"modelNameOrPath": "m", "usePeft": True}},
            {"lora_task_type": "SEQ_CLS"},
            id="reward-adapter-is-a-classifier",
        ),
        pytest.param(
            {"dpo": None, "reward": {}, "model": {"modelNameOrPath": "m"}}, {"lora_task_type": None}, id="reward-full"
        ),
        pytest.param(
            {"model": {"modelNameOrPath": "m", "loraTargetModules": ["q_proj", "v_proj"]}},
            {"lora_target_modules": ["q_proj", "v_proj"]},
            id="several-modules",
        ),
        pytest.param(
            {"model": {"modelNameOrPath": "m", "loraTargetModules": ["all-linear"]}},
            {"lora_target_modules": "all-linear"},
            id="PEFTs-keyword",
        ),
        pytest.param(
            {"model": {"modelNameOrPath": "m", "loraTargetModules": [".*attn.*"]}},
            {"lora_target_modules": ".*attn.*"},
            id="a-users-own-pattern",
        ),
    ],
)
def test_the_recipe_says_it_in_trls_words(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    recipe = yaml.safe_load(recipe_of(**spec).recipe_yaml)
    assert {name: recipe.get(name) for name in expected} == expected
    assert all(type(recipe.get(name)) is type(value) for name, value in expected.items())


def test_the_recipe_holds_nothing_that_the_user_did_not_write() -> None:
    recipe = recipe_of(gpusPerNode=1).recipe
    assert recipe.keys() == {"model_name_or_path", "dataset_name", "output_dir", "beta"}


def test_no_truncation_is_written_as_null() -> None:
    recipe = yaml.safe_load(recipe_of(dpo={"maxLength": -1}).recipe_yaml)
    assert "max_length" in recipe
    assert recipe["max_length"] is None


@pytest.mark.parametrize("path", ["model.layers.0.self_attn.q_proj", "q_proj"])
def test_a_single_module_name_matches_its_modules_although_trl_unwraps_it(path: str) -> None:
    """PEFT matches a string as a regular expression of the whole path (peft/tuners/tuners_utils.py)."""
    spec = {"modelNameOrPath": "m", "loraTargetModules": ["q_proj"]}
    pattern = recipe_of(model=spec).recipe["lora_target_modules"]
    assert re.fullmatch(pattern, path)
    assert not re.fullmatch(pattern, path.replace("q_proj", "xq_proj"))


RUNS = [
    pytest.param({}, {"device": "cpu", "nodes": 1, "processesPerNode": 1}, id="cpu"),
    pytest.param({"gpusPerNode": 8}, {"device": "gpu", "processesPerNode": 8}, id="a-process-for-each-GPU"),
    pytest.param({"gpusPerNode": 8, "processesPerNode": 4}, {"processesPerNode": 4}, id="processes-as-written"),
    pytest.param(
        {"nodes": 2}, {"nodes": 2, "masterAddress": "demo-r1-0.demo-r1", "masterPort": 29500}, id="several-nodes"
    ),
    pytest.param(
        {"model": {"modelNameOrPath": "m", "adapterNameOrPath": "a"}}, {"adapterNameOrPath": "a"}, id="adapter"
    ),
    pytest.param(
        {"output": {"volume": CLAIM, "merge": True, "push": {"repository": "me/model"}}},
        {"merge": True, "push": {"repository": "me/model", "private": True}},
        id="merge-and-push-private-by-default",
    ),
    pytest.param(
        {"output": {"volume": CLAIM, "push": {"repository": "me/model", "private": False}}},
        {"push": {"repository": "me/model", "private": False}},
        id="public-push",
    ),
    pytest.param({"hangTimeoutSeconds": 900}, {"hangTimeoutSeconds": 900}, id="hang-timeout"),
    pytest.param({"stopOnUnhealthy": True}, {"health": {"stopOnUnhealthy": True}}, id="stop-on-unhealthy"),
    pytest.param(
        {"stopOnUnhealthy": True, "health": {"windowSteps": 50, "chanceBand": 0.1}},
        {"health": {"stopOnUnhealthy": True, "windowSteps": 50, "chanceBand": 0.1}},
        id="limits-of-findings-as-written",
    ),
    pytest.param({"health": {"minMargin": 0.01}}, {"health": {"minMargin": 0.01}}, id="limits-without-a-stop"),
    pytest.param({"outOfMemoryLadder": True}, {"outOfMemoryLadder": True}, id="out-of-memory-ladder"),
    pytest.param({"memoryCheck": False}, {"memoryCheck": False}, id="memory-check-off"),
    pytest.param(
        {"optimizations": {"packedPairs": False, "referenceCache": True}},
        {"optimizations": {"packedPairs": False, "referenceCache": True}},
        id="optimizations-as-written",
    ),
    pytest.param({"terminationGracePeriodSeconds": 60}, {"terminationGracePeriodSeconds": 60}, id="grace"),
    pytest.param({}, {"referenceModel": {"strategy": "Auto"}}, id="reference-auto"),
    pytest.param(
        {"dpo": {"precomputeRefLogProbs": True}},
        {"referenceModel": {"strategy": "Precomputed"}},
        id="auto-and-precompute-means-precomputed",
    ),
    pytest.param(
        {"referenceModel": {"strategy": "Resident", "model": {"modelNameOrPath": "r", "loadIn4bit": True}}},
        {"referenceModel": {"strategy": "Resident", "model": {"model_name_or_path": "r", "load_in_4bit": True}}},
        id="own-reference-model",
    ),
    pytest.param({"dpo": None, "sft": {}}, {"method": "sft", "referenceModel": None}, id="sft-has-no-reference"),
    pytest.param({"dpo": None, "orpo": {}}, {"method": "orpo"}, id="orpo"),
    pytest.param({"dpo": None, "kto": {}}, {"method": "kto", "referenceModel": {"strategy": "Auto"}}, id="kto"),
]


@pytest.mark.parametrize(("spec", "expected"), RUNS)
def test_run_yaml_has_what_trl_has_no_words_for(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    run = yaml.safe_load(recipe_of(**spec).run_yaml)
    jsonschema.validate(run, SCHEMA)
    assert {name: run.get(name) for name in expected} == expected


def test_both_files_name_the_same_folder_on_the_volume() -> None:
    made = recipe_of(output={"volume": CLAIM, "subPath": "/experiments/"})
    assert re.fullmatch(r"/output/experiments/team-a/demo/[0-9a-f]{12}-r1", made.output_path)
    assert made.recipe["output_dir"] == made.run["outputPath"] == made.output_path
    assert made.digest in made.output_path


def test_a_folder_outside_the_volume_is_refused() -> None:
    with pytest.raises(SpecProblem, match=r"spec\.output\.subPath"):
        recipe_of(output={"volume": CLAIM, "subPath": "../../etc"})


@pytest.mark.parametrize(
    "spec",
    [
        {"training": {"learningRate": 1e-5}},
        {"model": {"modelNameOrPath": "other"}},
        {"referenceModel": {"model": {"modelNameOrPath": "r"}}},
        {"gpusPerNode": 2},
        {"output": {"volume": CLAIM, "merge": True}},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_another_recipe_has_another_folder(spec: dict[str, Any]) -> None:
    assert recipe_of(**spec).digest != recipe_of().digest


@pytest.mark.parametrize(
    "spec",
    [
        {"output": {"volume": CLAIM, "subPath": "elsewhere"}},
        {"terminationGracePeriodSeconds": 30},
        {"backoffLimit": 9},
        {"resources": {"limits": {"memory": "1Gi"}}},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_how_a_run_is_watched_and_where_it_lies_are_no_part_of_the_digest(spec: dict[str, Any]) -> None:
    assert recipe_of(**spec).digest == recipe_of().digest


def test_deleting_and_applying_again_finds_the_same_folder() -> None:
    again = alignment_job()
    again.metadata.uid = "another"
    assert build(again, 1, SETTINGS).output_path == recipe_of().output_path


def test_a_run_that_has_begun_keeps_its_folder_whatever_the_operator_would_hash_today() -> None:
    begun = alignment_job(status={"run": 1, "jobName": "demo-r1", "outputPath": "/output/old"})
    assert build(begun, 1, SETTINGS).recipe["output_dir"] == "/output/old"
    assert build(begun, 2, SETTINGS).output_path != "/output/old"


@pytest.mark.parametrize("methods", [{"dpo": None}, {"sft": {}}], ids=["none", "two"])
def test_an_object_without_exactly_one_method_is_refused(methods: dict[str, Any]) -> None:
    with pytest.raises(SpecProblem, match=r"Exactly one of dpo"):
        recipe_of(**methods)


UPSTREAM = UpstreamView(
    name="first",
    exists=True,
    complete=True,
    run=2,
    output_path="/output/team-a/first/abc-r2",
    volume=CLAIM,
    model={"modelNameOrPath": "base", "modelRevision": "v1", "usePeft": True},
    adapter=True,
)
MERGED = "/from-job/team-a/first/abc-r2/merged"
ADAPTER = "/from-job/team-a/first/abc-r2"


@pytest.mark.parametrize(
    ("changes", "model", "adapter"),
    [
        pytest.param(
            {"artifacts": {"adapter": ".", "merged": "merged"}}, {"model_name_or_path": MERGED}, None, id="merged"
        ),
        pytest.param({"artifacts": {"model": "."}}, {"model_name_or_path": ADAPTER}, None, id="whole-model"),
        pytest.param(
            {"artifacts": {"adapter": "."}},
            {"model_name_or_path": "base", "model_revision": "v1"},
            ADAPTER,
            id="base-and-adapter",
        ),
        pytest.param({"merged": True}, {"model_name_or_path": MERGED}, None, id="merged-by-its-spec"),
        pytest.param({}, {"model_name_or_path": "base", "model_revision": "v1"}, ADAPTER, id="adapter-by-its-spec"),
        pytest.param({"adapter": False}, {"model_name_or_path": ADAPTER}, None, id="model-by-its-spec"),
    ],
)
def test_another_jobs_output_is_the_policy(changes: dict[str, Any], model: dict[str, Any], adapter: str | None) -> None:
    made = build(alignment_job(model={"fromJob": "first"}), 1, SETTINGS, replace(UPSTREAM, **changes))
    assert {name: value for name, value in made.recipe.items() if name.startswith("model")} == model
    assert made.run.get("adapterNameOrPath") == adapter
    assert "from_job" not in made.recipe


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        (None, "not complete"),
        (replace(UPSTREAM, complete=False), "not complete"),
        (replace(UPSTREAM, model={"fromJob": "zeroth"}), r"spec\.output\.merge"),
        (replace(UPSTREAM, artifacts={"repository": "me/x@1"}), "neither a model nor an adapter"),
    ],
    ids=["unknown", "incomplete", "adapter-of-an-adapter", "nothing-on-the-volume"],
)
def test_a_job_that_left_no_policy_is_told(upstream: UpstreamView | None, words: str) -> None:
    with pytest.raises(SpecProblem, match=words):
        build(alignment_job(model={"fromJob": "first"}), 1, SETTINGS, upstream)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({}, "# Pure TRL: trl dpo --config recipe.yaml"),
        ({"referenceModel": {"model": {"modelNameOrPath": "r"}}}, "stock TRL would use the policy's own"),
    ],
    ids=["how-to-run-it", "what-stock-trl-would-do"],
)
def test_the_recipe_tells_its_reader(spec: dict[str, Any], line: str) -> None:
    assert line in recipe_of(**spec).recipe_yaml


def test_a_method_without_a_trl_script_claims_none() -> None:
    assert "trl orpo" not in recipe_of(dpo=None, orpo={}).recipe_yaml
