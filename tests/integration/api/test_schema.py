"""The CRD on a real API server: size, columns, explain, unknown fields, nulls, names, bounds in the same words."""

import json

import pytest

from alignment_operator.api import constants
from alignment_operator.api.crd import crd
from alignment_operator.api.validation import problems
from tests.integration.api.server import Client, Json, manifest
from tests.integration.apiserver import ApiServer
from tests.integration.conftest import Kubectl
from tests.rule_cases import method, spec

# What is wrong with the shape of a spec; the API server and `render` must say the same.
SHAPES: dict[str, Json] = {
    "wrong type": {"dpo": {"beta": "high"}},
    "boolean for text": {"training": {"saveStrategy": False}},
    "text for a boolean": {"model": {"usePeft": "yes"}},
    "fraction for an integer": {"model": {"loraR": 1.5}},
    "not one of the choices": {"model": {"dtype": "fp8"}},
    "not one of the choices in a list": {"dpo": {"lossType": ["dpo"]}},
    "below the minimum": {"dpo": {"beta": -1}},
    "not above the exclusive minimum": {"training": {"numTrainEpochs": 0}},
    "not below the exclusive maximum": {"training": {"adamBeta1": 1}},
    "above the maximum": {"dpo": {"ldAlpha": 1.5}},
    "text too long": {"model": {"modelNameOrPath": "x" * 1025}},
    "text too short": {"model": {"modelNameOrPath": ""}},
    "list too long": {"dpo": {"lossType": ["sigmoid"] * 16}},
    "empty list": {"dpo": {"lossType": []}},
    "missing section": {"output": None},
    "missing field inside": {"output": {"volume": {"persistentVolumeClaim": {"claimName": None}}}},
    "pattern": {"imagePullPolicy": "Sometimes"},
    "number for integer or string": {"dpo": {"padToMultipleOf": 1.5}},
    "map value": {"training": {"ligerKernelConfig": {"rope": "yes"}}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_render_says_what_the_api_server_says(shape: str, client: Client) -> None:
    broken = manifest(spec(SHAPES[shape]))
    answer = client.create(broken)
    assert answer.code == 422, answer.message
    online = {
        f"{cause['field']}: {cause['message']}" for cause in answer.causes if "not checked" not in cause["message"]
    }
    assert {str(problem) for problem in problems(broken)} == online


@pytest.mark.parametrize("name", ["a.b", "1a", "A", "a" * 53, "a-", "-a"])
def test_a_name_that_children_cannot_carry_is_refused(name: str, client: Client) -> None:
    broken = manifest(spec({}), name)
    assert client.create(broken).code == 422
    assert [problem.path for problem in problems(broken)][:1] == ["metadata.name"]


def test_the_longest_name_is_accepted(client: Client) -> None:
    assert client.create(manifest(spec({}), "a" * constants.MAX_NAME_LENGTH)).code == 201


def test_an_unknown_field_is_refused_by_strict_validation_and_dropped_with_a_warning_without(client: Client) -> None:
    wrong = manifest(spec({"dpo": {"betta": 0.1}}))
    strict = client.create(wrong)
    assert strict.code == 400
    assert 'unknown field "spec.dpo.betta"' in strict.message
    lenient = client.create(wrong, field_validation="Warn")
    assert lenient.code == 201
    assert any("unknown field" in warning and "spec.dpo.betta" in warning for warning in lenient.warnings)
    assert "betta" not in lenient.body["spec"]["dpo"]
    assert [str(problem) for problem in problems(wrong)] == ['spec.dpo.betta: unknown field "spec.dpo.betta"']


def test_kubectl_refuses_an_unknown_field(apiserver: ApiServer) -> None:
    text = json.dumps(manifest(spec({"training": {"learning_rate": 1}})))
    result = apiserver.kubectl("create", "--dry-run=server", "-f", "-", input=text, check=False)
    assert result.returncode == 1
    assert 'unknown field "spec.training.learning_rate"' in result.stderr


@pytest.mark.parametrize("name", ["dpo", "sft", "orpo", "cpo", "kto", "reward"])
def test_a_null_length_reaches_the_operator_which_can_refuse_it(name: str, client: Client) -> None:
    unlimited = manifest({**spec(method(name)), name: {"maxLength": None}})
    stored = client.create(unlimited).body
    assert stored["spec"][name] == {"maxLength": None}
    [problem] = problems(stored, strict=False)
    assert problem.path == f"spec.{name}.maxLength"
    assert "-1" in problem.message


def test_the_crd_fits_into_client_side_apply(bare_apiserver: ApiServer, apiserver: ApiServer) -> None:
    assert len(json.dumps(crd(), separators=(",", ":")).encode()) < 250_000
    result = bare_apiserver.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(crd()), check=False)
    assert result.returncode == 0, result.stderr


def test_explain_prints_trl_help(kubectl: Kubectl) -> None:
    text = kubectl("explain", "alignmentjob.spec.dpo.beta")
    assert "deviation from the reference model" in text


def test_columns_show_method_model_phase_progress_and_loss(
    own_client: Client, namespace: str, kubectl: Kubectl
) -> None:
    own_client.create(manifest(spec({})), dry_run=False)
    metrics = [{"name": "rewards/margins", "value": "0.4"}, {"name": "loss", "value": "0.61"}]
    progress = {"percentage": 42, "step": 8, "totalSteps": 20}
    status = {"method": "DPO", "phase": "Running", "progress": progress, "metrics": metrics}
    assert own_client.put_status("case", status).code == 200
    header, row = kubectl("get", "aj", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "METHOD", "MODEL", "PHASE", "PROGRESS", "LOSS", "AGE"]
    assert row.split()[:6] == ["case", "DPO", "tiny", "Running", "42", "0.61"]
    assert "MARGIN" in kubectl("get", "aj", "-n", namespace, "-o", "wide")


def test_the_column_of_the_model_names_the_job_that_it_is_taken_from(
    own_client: Client, namespace: str, kubectl: Kubectl
) -> None:
    own_client.create(manifest(spec({}) | {"model": {"fromJob": "first"}}), dry_run=False)
    assert own_client.put_status("case", {"method": "DPO", "phase": "Pending"}).code == 200
    _, row = kubectl("get", "aj", "-n", namespace).splitlines()
    assert row.split()[:4] == ["case", "DPO", "first", "Pending"]


def test_every_condition_field_of_the_status_survives(own_client: Client) -> None:
    own_client.create(manifest(spec({})), dry_run=False)
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Running",
        "message": "step 3 of 20",
        "lastTransitionTime": "2026-11-22T00:00:00Z",
        "observedGeneration": 1,
    }
    answer = own_client.put_status("case", {"conditions": [condition], "observedGeneration": 1})
    assert answer.body["status"]["conditions"] == [condition]
