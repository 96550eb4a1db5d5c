"""The NetworkPolicy of a run: what it lets through, as a table; that it is enforced is tests/e2e/test_network.py."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator import jobs, networkpolicy
from alignment_operator.problems import SpecProblem
from alignment_operator.recipe import build
from alignment_operator.runs import decide
from alignment_operator.settings import Settings, load
from alignment_operator.views import Observed
from tests.unit.operator.builders import NOW, UID, alignment_job

PODS = {"podSelector": {"matchLabels": {"batch.kubernetes.io/job-name": "demo-r2"}}}
OPERATOR = {"app.kubernetes.io/name": "alignment-operator", "app.kubernetes.io/instance": "release"}
HUB = {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"port": 443, "protocol": "TCP"}]}


def settings(url: str | None = "https://operator.ops.svc:8443", **network: Any) -> Settings:
    network = {"enabled": True, "operator_labels": OPERATOR} | network
    return load(overrides={"namespace": "ops", "progress": {"url": url}, "job_network": network})


def policy(of: Settings, **spec: Any) -> dict[str, Any]:
    made = networkpolicy.network_policy(alignment_job(**spec), 2, of)
    assert made is not None
    return made


def test_there_is_none_unless_the_settings_want_it() -> None:
    assert networkpolicy.network_policy(alignment_job(), 1, Settings()) is None


def test_it_is_the_runs_and_goes_with_the_alignment_job() -> None:
    metadata = policy(settings())["metadata"]
    assert metadata["name"] == "demo-r2"
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("AlignmentJob", UID, True)


def test_it_selects_the_runs_pods_by_a_label_that_the_job_controller_sets() -> None:
    spec = policy(settings())["spec"]
    assert spec["podSelector"] == PODS["podSelector"]
    assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
    job = alignment_job()
    child = jobs.job(job, build(job, 2, Settings()), 2, Settings())
    assert child["metadata"]["name"] == "demo-r2"  # which the Job controller puts into that label


def test_in_only_from_the_runs_own_pods() -> None:
    assert policy(settings())["spec"]["ingress"] == [{"from": [PODS]}]


@pytest.mark.parametrize(
    ("network", "peers"),
    [({}, None), ({"dns": [{"namespaceSelector": {}}]}, [{"namespaceSelector": {}}])],
    ids=["anywhere", "named"],
)
def test_names_are_resolved(network: dict[str, Any], peers: Any) -> None:
    dns = policy(settings(**network))["spec"]["egress"][1]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert dns.get("to") == peers


def test_progress_goes_to_the_operators_pods_and_port_alone() -> None:
    rules = policy(settings())["spec"]["egress"]
    to = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ops"}},
        "podSelector": {"matchLabels": OPERATOR},
    }
    assert rules[2:] == [{"to": [to], "ports": [{"port": 8443, "protocol": "TCP"}]}]


def test_without_an_endpoint_nothing_goes_to_the_operator() -> None:
    assert len(policy(settings(url=None))["spec"]["egress"]) == 2


def test_the_administrators_networks_are_added() -> None:
    assert policy(settings(egress=[HUB]))["spec"]["egress"][-1] == HUB


def test_pods_in_the_nodes_network_which_no_policy_holds_are_refused() -> None:
    template = {"spec": {"hostNetwork": True}}
    with pytest.raises(SpecProblem, match=r"spec\.podTemplate\.spec\.hostNetwork"):
        policy(settings(), podTemplate=template)
    decision = decide(alignment_job(podTemplate=template), Observed(), settings(), NOW)
    assert decision.problem is not None
    assert decision.problem.path == "spec.podTemplate.spec.hostNetwork"
    assert decide(alignment_job(podTemplate=template), Observed(), Settings(), NOW).start
