"""The second proof of the rules that are not about TRL: what pods a run without them would have."""

import copy
from typing import Any

import pytest

from alignment_operator import jobs, overlay, recipe
from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.problems import SpecProblem
from alignment_operator.settings import Settings
from tests.integration.api.server import Client, Json, manifest
from tests.rule_cases import CASES, Case, spec

CASES_HERE = [case for case in CASES if case.kubernetes]


def read(patch: Json) -> AlignmentJob:
    """The spec as an object that predates the rule: nothing but the models has read it."""
    return AlignmentJob.model_validate(manifest(spec(patch)))


def made(patch: Json, without_overlay: bool = True) -> Json:
    """The Job that the operator would make; the overlay is merged without its checks."""
    full = spec(patch)
    template = full.pop("podTemplate", {}) if without_overlay else {}
    job = AlignmentJob.model_validate(manifest(full))
    child = jobs.job(job, recipe.build(job, 1, Settings()), 1, Settings())
    child["metadata"].pop("ownerReferences")
    child["spec"]["template"] = overlay.merge(child["spec"]["template"], template)
    return child


def pod(child: Json) -> Json:
    return child["spec"]["template"]["spec"]


def refusal(child: Json, client: Client) -> str:
    """The API server's word on a Job; empty if it takes it."""
    answer = client.request("POST", "/apis/batch/v1/namespaces/default/jobs?dryRun=All", child)
    return "" if answer.code == 201 else answer.message


def volume(child: Json, name: str) -> Json:
    return next(volume for volume in pod(child)["volumes"] if volume["name"] == name)


def volume_dies_with_the_pod(case: Case, client: Client) -> None:
    """The run would write its checkpoints there, and find none after a restart."""
    assert set(volume(made(case.bad), "alignment-output")) == {"name", case.rule.rsplit("-", 1)[1]}


def volume_is_read_only(case: Case, client: Client) -> None:
    """The run would mount it, and fail on its first write."""
    where, _, kind = case.rule.split("-")
    assert set(volume(made(case.bad), f"alignment-{where}")) == {"name", kind}


def the_api_server_refuses_the_pod(case: Case, client: Client) -> None:
    assert refusal(made({}), client) == ""
    assert "Invalid" in refusal(made(case.bad), client) or "invalid" in refusal(made(case.bad), client)


def no_kind_becomes_an_empty_dir(case: Case, client: Client) -> None:
    """Kubernetes' default for a volume without a source: nothing would be shared between jobs."""
    answer = client.request("POST", "/apis/batch/v1/namespaces/default/jobs?dryRun=All", made(case.bad))
    assert "emptyDir" in volume(answer.body, "alignment-cache")


def sub_path_leaves_the_folder(case: Case, client: Client) -> None:
    """`..` is refused by the operator too (for older objects); an absolute path would not be that path."""
    sub_path = spec(case.bad)["output"]["subPath"]
    if ".." in sub_path:
        with pytest.raises(SpecProblem, match=r"spec\.output\.subPath"):
            recipe.build(read(case.bad), 1, Settings())
    else:
        assert not recipe.build(read(case.bad), 1, Settings()).output_path.startswith(sub_path)


def gpus_are_counted_twice(case: Case, client: Client) -> None:
    """The operator cannot tell which number is meant."""
    with pytest.raises(SpecProblem, match=r"spec\.resources"):
        made(case.bad)


def pod_field_is_the_operators(case: Case, client: Client) -> None:
    """Merged, the user's value stands where the operator's own would be, or beside it."""
    template = spec(case.bad)["podTemplate"]
    ours, merged = made({})["spec"]["template"], made(case.bad)["spec"]["template"]
    for part in ("metadata", "spec"):
        for key in template.get(part, {}):
            assert merged[part][key] != ours[part].get(key)
            assert contains(merged[part][key], template[part][key])


def container_field_is_the_operators(case: Case, client: Client) -> None:
    [overlaid] = spec(case.bad)["podTemplate"]["spec"]["containers"]
    ours, merged = pod(made({}))["containers"][0], pod(made(case.bad))["containers"][0]
    for key in set(overlaid) - {"name"}:
        assert merged[key] != ours.get(key)
        assert contains(merged[key], overlaid[key])


def second_container_keeps_the_job(case: Case, client: Client) -> None:
    assert [container["name"] for container in pod(made(case.bad))["containers"]] == ["trainer", "sidecar"]


def contains(merged: Any, part: Any) -> bool:
    """Whether a merged value holds all of a part."""
    if isinstance(part, dict):
        return all(key in merged and contains(merged[key], value) for key, value in part.items())
    if isinstance(part, list):
        return all(any(contains(item, wanted) for item in merged) for wanted in part)
    return merged == part


@pytest.mark.parametrize("case", CASES_HERE, ids=lambda case: case.rule)
def test_without_the_rule_a_run_could_not_do_what_the_spec_says(case: Case, client: Client) -> None:
    globals()[case.kubernetes](case, client)


@pytest.mark.parametrize("case", CASES_HERE, ids=lambda case: case.rule)
def test_what_the_rules_let_through_the_api_server_takes_as_a_job(case: Case, client: Client) -> None:
    patch = copy.deepcopy(case.good)
    template = patch.setdefault("podTemplate", {}).setdefault("spec", {})
    mounts = [mount for c in template.get("containers", []) for mount in c.get("volumeMounts", [])]
    if mounts:
        template["volumes"] = [{"name": mount["name"], "emptyDir": {}} for mount in mounts]
    job = read(patch)
    child = jobs.job(job, recipe.build(job, 1, Settings()), 1, Settings())
    child["metadata"].pop("ownerReferences")
    assert refusal(child, client) == ""
