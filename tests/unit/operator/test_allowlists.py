"""The operator's half of the allow-lists: every way round them that the table knows is refused with field and cure."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator import allowlists
from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.constants import Reason
from alignment_operator.api.rules.allowed import ALLOWED_RULES
from alignment_operator.api.rules.unwise import WARNINGS
from alignment_operator.pods import template
from alignment_operator.recipe import build
from alignment_operator.runs import decide
from alignment_operator.settings import AllowedSettings, PodSettings, Settings, SettingsProblem, load
from alignment_operator.views import Observed
from dev.generate import admission
from tests.allowed_cases import ALLOWED_CASES, COMMIT, IMAGE, LISTED, LISTS, AllowedCase, env
from tests.integration.api.server import manifest
from tests.rule_cases import spec
from tests.unit.operator.builders import NOW, alignment_job

RULES = {rule.id: rule for rule in ALLOWED_RULES}


def settings(lists: str) -> Settings:
    return load(overrides={"allowed": LISTS[lists]})


def read(patch: dict[str, Any]) -> AlignmentJob:
    return AlignmentJob.model_validate(manifest(spec(patch)))


@pytest.mark.parametrize("case", ALLOWED_CASES, ids=lambda case: case.name)
def test_the_operator_refuses_what_the_lists_do_not_allow(case: AllowedCase) -> None:
    found = allowlists.problem(read(case.patch).spec, settings(case.lists))
    if case.rule is None:
        assert found is None
        return
    assert found is not None
    rule = RULES[case.rule]
    assert (found.path, found.reason) == (f"spec.{rule.path}", Reason.NOT_ALLOWED)
    assert rule.message.lower() in found.message.lower()


@pytest.mark.parametrize("case", ALLOWED_CASES, ids=lambda case: case.name)
def test_without_lists_everything_is_allowed(case: AllowedCase) -> None:
    assert allowlists.problem(read(case.patch).spec, Settings()) is None


def test_every_rule_is_shown_to_refuse() -> None:
    shown = {case.rule for case in ALLOWED_CASES if case.rule}
    siblings = {rule for rule in RULES if rule.startswith("hub-kernels-")}  # one loop makes them
    only_with_one_list = {"remote-code-offline", "gpus-in-init-containers"}  # below
    assert set(RULES) - siblings - only_with_one_list <= shown
    assert siblings & shown


def test_gpus_of_a_sidecar_are_refused() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": 8}}}
    job = read({"podTemplate": {"spec": {"initContainers": [sidecar]}}})
    limited = Settings(allowed=AllowedSettings(max_gpus=8))
    found = allowlists.problem(job.spec, limited)
    assert found is not None
    assert found.path == "spec.podTemplate.spec.initContainers"
    sidecar["resources"] = {"limits": {"cpu": "1"}}
    assert allowlists.problem(read({"podTemplate": {"spec": {"initContainers": [sidecar]}}}).spec, limited) is None


def test_offline_pods_run_no_remote_code_since_a_cache_proves_nothing() -> None:
    offline = dataclasses.replace(settings("all"), pods=PodSettings(hub_offline=True))
    found = allowlists.problem(read({"model": LISTED}).spec, offline)
    assert found is not None
    assert found.path == "spec.model.trustRemoteCode"
    assert "cache volume cannot prove" in found.message


def test_what_has_the_wrong_shape_is_refused_and_raises_nothing() -> None:
    template = {"spec": {"initContainers": [{"name": "a", "resources": "lots"}]}}
    found = allowlists.problem(read({"podTemplate": template}).spec, Settings(allowed=AllowedSettings(max_gpus=1)))
    assert found is not None
    assert found.path == "spec.podTemplate.spec.initContainers"


def test_no_run_begins_with_what_is_not_allowed_and_one_that_began_goes_on() -> None:
    job = alignment_job(image="busybox")
    decision = decide(job, Observed(), settings("all"), NOW)
    assert decision.problem is not None
    assert (decision.problem.path, decision.problem.reason) == ("spec.image", Reason.NOT_ALLOWED)
    assert not decision.start
    started = alignment_job(image="busybox", status={"run": 1, "jobName": "demo-r1"})
    assert decide(started, Observed(), settings("all"), NOW).start


def test_a_list_of_code_reaches_the_trainer_and_changes_no_output_folder() -> None:
    job = alignment_job(model=LISTED)
    with_list, without = build(job, 1, settings("all")), build(job, 1, Settings())
    assert with_list.run["remoteCode"] == LISTS["all"]["remote_code"]
    assert "remoteCode" not in without.run
    assert with_list.output_path == without.output_path


def test_sealed_pods_use_no_hub_kernels_and_no_code_from_the_cache_volume() -> None:
    def variables(of: Settings) -> dict[str, str]:
        [container] = template(alignment_job(model=LISTED), 1, of)["spec"]["containers"]
        return {v["name"]: v.get("value", "") for v in container["env"]}

    assert variables(settings("all"))["USE_HUB_KERNELS"] == "0"
    assert "USE_HUB_KERNELS" not in variables(Settings())
    assert variables(Settings())["HF_MODULES_CACHE"].startswith("/tmp/")


def test_the_administrator_may_allow_more_variables() -> None:
    more = {**LISTS["all"], "env": ["HTTPS_PROXY"]}
    assert allowlists.problem(read(env("HTTPS_PROXY")).spec, load(overrides={"allowed": more})) is None


@pytest.mark.parametrize(
    "lists",
    [
        {"remote_code": ["org/model"]},
        {"remote_code": ["org/model@main"]},
        {"remote_code": [f"../model@{COMMIT}"]},
        {"remote_code": [f"/cache/model@{COMMIT}"]},
        {"images": ["registry.example/trainer:1"]},
        {"images": [IMAGE[:-1]]},
    ],
    ids=["no-commit", "branch", "parent", "folder", "tag", "short-digest"],
)
def test_a_list_with_what_can_change_is_refused_when_the_operator_starts(lists: dict[str, Any]) -> None:
    with pytest.raises(SettingsProblem, match=f"allowed.{next(iter(lists))}"):
        load(overrides={"allowed": lists})


def test_the_charts_tables_are_the_operators() -> None:
    chart = Path(__file__).parents[3] / "charts/alignment-operator/files/admission.yaml"
    tables = yaml.safe_load(chart.read_text())
    assert [rule["id"] for rule in tables["allowed"]] == [rule.id for rule in ALLOWED_RULES]
    assert [rule["expression"] for rule in tables["allowed"]] == [admission.online(r.expression) for r in ALLOWED_RULES]
    assert [warning["message"] for warning in tables["warnings"]] == [warning.message for warning in WARNINGS]


def test_a_change_of_any_field_that_a_rule_reads_is_judged_at_admission() -> None:
    template = Path(__file__).parents[3] / "charts/alignment-operator/templates/admission-policies.yaml"
    judged = re.search(r"'CREATE' \|\| \[(.*?)\]", template.read_text(), re.DOTALL)
    assert judged is not None
    read_by_rules = {field for rule in ALLOWED_RULES for field in re.findall(r"\bself\.(\w+)", rule.expression)}
    assert read_by_rules | {"rerun"} == set(re.findall(r"'(\w+)'", judged[1]))
