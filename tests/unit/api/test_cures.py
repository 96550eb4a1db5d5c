"""`render` says what was probably meant by a field or value that the API server refuses."""

import copy
from typing import Any

import pytest

from alignment_operator.api.validation import problems
from alignment_operator.cures import with_cure

JOB: dict[str, Any] = {
    "apiVersion": "alignment-operator.io/v1alpha1",
    "kind": "AlignmentJob",
    "metadata": {"name": "demo"},
    "spec": {
        "model": {"modelNameOrPath": "tiny"},
        "dataset": {"datasetName": "pairs"},
        "training": {},
        "dpo": {},
        "output": {"volume": {"persistentVolumeClaim": {"claimName": "models"}}},
    },
}
NAMES = [
    ("spec.training.learning_rate", "did you mean spec.training.learningRate?"),
    ("spec.training.loadIn4bit", "did you mean spec.model.loadIn4bit?"),
    ("spec.training.load_in_4bit", "did you mean spec.model.loadIn4bit?"),
    ("spec.training.beta", "did you mean spec.dpo.beta?"),
    ("spec.dpo.betta", "did you mean beta?"),
    ("spec.model.torch_dtype", "now dtype"),
    ("spec.model.lora_rank", "did you mean loraR?"),
    ("spec.training.warmupRatio", "now warmupSteps: below 1 it is a share of all steps"),
    ("spec.training.output_dir", "the operator's: spec.output"),
    ("spec.dpo.maxPromptLength", "maxLength is the one bound"),
    ("spec.numNodes", "did you mean nodes?"),
    ("spec.gpus", "did you mean gpusPerNode?"),
    ("spec.dataset.name", "did you mean datasetName"),
    ("spec.simpo", "simpo is a value of spec.cpo.lossType"),
    ("spec.output.persistentVolumeClaim", "did you mean spec.output.volume.persistentVolumeClaim?"),
]
VALUES = [
    ("spec.model.dtype", "bf16", "did you mean bfloat16?"),
    ("spec.dpo.lossType", ["sigmoidd"], "did you mean sigmoid?"),
    ("spec.dpo.lossType", ["simpo"], "simpo is a value of spec.cpo.lossType"),
    ("spec.dpo.lossType", "sigmoid", "write a list: [sigmoid]"),
    ("spec.model.loraTargetModules", "q_proj, v_proj", "write a list: [q_proj, v_proj]"),
    ("spec.training.learningRate", "5e-6", "write it without quotes: 5e-6"),
    ("spec.model.usePeft", "yes", "write it without quotes: yes"),
    ("spec.resources", {"limits": {"memory": "8GB"}}, "write 8G or 8Gi"),
    ("metadata.name", "Zephyr_7b", "lower-case letters, digits and -"),
]


def said(path: str, value: Any) -> list[str]:
    """What `render` prints of the job with this value there."""
    manifest = copy.deepcopy(JOB)
    *above, name = path.split(".")
    place = manifest
    for step in above:
        place = place.setdefault(step, {})
    place[name] = value
    return [with_cure(problem, manifest) for problem in problems(manifest)]


@pytest.mark.parametrize(("path", "cure"), NAMES, ids=[path for path, _ in NAMES])
def test_an_unknown_field_is_told_with_the_one_that_was_meant(path: str, cure: str) -> None:
    (line,) = said(path, 1)
    assert line.startswith(f'{path}: unknown field "{path}" (')
    assert cure in line


@pytest.mark.parametrize(("path", "value", "cure"), VALUES, ids=[path for path, _, _ in VALUES])
def test_a_refused_value_is_told_with_the_one_that_was_meant(path: str, value: Any, cure: str) -> None:
    (line,) = said(path, value)
    assert line.endswith(")")
    assert cure in line


@pytest.mark.parametrize("path", ["dataset", "spec.model.dataset"])
def test_a_section_at_the_wrong_depth_is_told_with_its_place(path: str) -> None:
    (line,) = said(path, {"datasetName": "pairs"})
    assert line.endswith("(did you mean spec.dataset? Check the indentation)")


@pytest.mark.parametrize(
    ("path", "value"), [("spec.model.quantization", "4bit"), ("spec.gpusPerNode", "all"), ("spec.nodes", 0)]
)
def test_where_nothing_is_near_nothing_is_added(path: str, value: Any) -> None:
    (line,) = said(path, value)
    assert "(" not in line
