"""`render` prints what would be made, or what the API server would say."""

from pathlib import Path

import pytest
import yaml

from alignment_operator.render import main

JOB = """
apiVersion: alignment-operator.io/v1alpha1
kind: AlignmentJob
metadata: {name: demo, namespace: team}
spec:
  model: {modelNameOrPath: tiny, usePeft: true}
  dataset: {datasetName: pairs}
  training: {learningRate: 5e-7, maxSteps: 10}
  dpo: {beta: 0.1, maxLength: -1}
  nodes: 2
  output: {volume: {persistentVolumeClaim: {claimName: models}}}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def test_the_children_of_a_run_are_printed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-f", str(manifest)]) == 0
    children = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {child["kind"] for child in children} == {"ConfigMap", "Service", "Job"}
    assert {child["metadata"]["name"] for child in children} == {"demo-r1"}
    assert {child["metadata"]["namespace"] for child in children} == {"team"}


def test_the_recipe_alone_holds_what_the_user_wrote_in_trls_words(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-f", str(manifest), "--recipe"]) == 0
    recipe = yaml.safe_load(capsys.readouterr().out)
    recipe.pop("output_dir")
    assert recipe == {
        "model_name_or_path": "tiny",
        "use_peft": True,
        "dataset_name": "pairs",
        "learning_rate": 5e-7,
        "max_steps": 10,
        "beta": 0.1,
        "max_length": None,
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("beta: 0.1", "beta: -1", "spec.dpo.beta: Invalid value: -1: spec.dpo.beta in body should be greater than or"),
        ("usePeft: true", "loadIn4bit: true", "spec.model.usePeft: Invalid value: quantized weights cannot be trained"),
        ("beta: 0.1", "betta: 0.1", 'unknown field "spec.dpo.betta"'),
        ("maxLength: -1", "maxLength: null", "spec.dpo.maxLength: Invalid value: null: write -1"),
        ("  dpo: {beta: 0.1, maxLength: -1}\n", "", "spec.dpo: Required value: set exactly one of dpo"),
        ("name: demo, ", "", "metadata.name: Required value"),
        ("kind: AlignmentJob", "kind: Job", "kind: Invalid value"),
        ("modelNameOrPath: tiny", "fromJob: first", "spec.model.fromJob: What AlignmentJob first leaves"),
        ("modelNameOrPath: tiny", "fromJob: demo", "spec.model.fromJob: What AlignmentJob demo leaves"),
        ("nodes: 2", "nodes: 2\n  nodes: 3", 'key "nodes" already set'),
        ("spec:", "spec: [", "not YAML"),
    ],
)
def test_a_refused_manifest_exits_1_with_the_path_and_the_cure(
    old: str, new: str, says: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in JOB
    manifest.write_text(JOB.replace(old, new))
    assert main(["-f", str(manifest)]) == 1
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""


def test_a_missing_file_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-f", "no-such-file.yaml"]) == 1
    assert "no-such-file.yaml" in capsys.readouterr().err


EXAMPLES = Path(__file__).parents[3] / "examples"


def test_a_job_that_starts_from_another_is_rendered_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(EXAMPLES / f"{name}.yaml") for name in ("smollm2-dpo-after-sft", "smollm2-sft")]
    assert main(["-f", files[0], "-f", files[1]]) == 0
    children = {child["metadata"]["name"]: child for child in yaml.safe_load_all(capsys.readouterr().out)}
    (mount,) = [
        mount
        for mount in children["smollm2-dpo-after-sft-r1"]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        if mount["mountPath"] == "/from-job"
    ]
    assert mount["readOnly"]

    assert main(["--recipe", "-f", files[0], "-f", files[1]]) == 0
    dpo, sft = yaml.safe_load_all(capsys.readouterr().out)
    assert dpo["model_name_or_path"] == sft["model_name_or_path"] == "/cache/smollm2-135m-instruct"


CLAIM = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: models}\nspec: {}\n"


def test_objects_of_other_kinds_in_the_file_are_passed_over(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write_text(JOB + CLAIM)
    assert main(["-f", str(manifest)]) == 0
    assert {child["kind"] for child in yaml.safe_load_all(capsys.readouterr().out)} == {"ConfigMap", "Service", "Job"}


def test_the_manifests_of_a_folder_are_rendered(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.with_name("second.yml").write_text(JOB.replace("name: demo", "name: second"))
    manifest.with_name("notes.md").write_text("no manifest")
    assert main(["-f", str(manifest.parent), "--recipe"]) == 0
    printed = capsys.readouterr().out
    assert [recipe["output_dir"].split("/")[3] for recipe in yaml.safe_load_all(printed)] == ["demo", "second"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CLAIM, "no AlignmentJob is in it"),
        ("model_name_or_path: tiny", "is a recipe of TRL: `python -m alignment_operator import"),
        ("\tkind: Job", "line 1: found character '\\t' that cannot start any token: indent with spaces"),
    ],
)
def test_a_file_without_a_job_is_told_with_what_it_is(
    text: str, says: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(text)
    assert main(["-f", str(manifest)]) == 1
    assert says in capsys.readouterr().err
