"""Whatever a spec holds: it is refused with a field's path, or becomes a Job that the API server takes. Nothing raises.

A short form here, the long one is `make fuzz` (FUZZ_EXAMPLES, FUZZ_SEED); what it has shown is in docs/security.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from alignment_operator import allowlists, jobs
from alignment_operator.api.validation import problems
from alignment_operator.children import refusal
from alignment_operator.cluster import ApiError
from alignment_operator.recipe import build
from alignment_operator.runs import decide
from alignment_operator.settings import Settings, load
from alignment_operator.status import compute
from alignment_operator.subject import read
from alignment_operator.views import Observed
from tests.allowed_cases import ALL_LISTS
from tests.fuzz.specs import specs
from tests.integration.api.server import Answer, Client, Json, manifest
from tests.unit.operator.builders import NOW

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
LISTS = load(overrides={"allowed": ALL_LISTS})
# A Job that names no pull secret, claim or class that would have to exist: the API server takes it whatever is there.
JOBS = "/apis/batch/v1/namespaces/default/jobs?dryRun=All"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps?dryRun=All"


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """How the specs ended."""
    return Counter()


def test_a_spec_is_refused_with_a_path_or_becomes_a_valid_job(apiserver: Any, seen: Counter[str]) -> None:
    client = Client(apiserver)

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[*HealthCheck], print_blob=False
    )
    @given(specs())
    def every_spec(spec: Json) -> None:
        seen[outcome(client, spec)] += 1

    every_spec()
    print(f"\n{sum(seen.values())} specs, seed {SEED}: " + ", ".join(f"{n} {what}" for what, n in seen.most_common()))
    accepted = seen["a Job"] + seen["refused by the operator"] + seen["a Job that the API server refuses"]
    assert seen["refused by the schema or a rule"] > EXAMPLES // 10
    assert accepted > EXAMPLES // 10  # else this test shows little


def outcome(client: Client, spec: Json) -> str:
    """What becomes of a spec, in words; raises AssertionError where it is neither refused nor becomes a Job."""
    answer = client.create(manifest(spec))
    offline = problems(manifest(spec))
    assert (answer.code == 201) == (not offline), f"the API server says {answer.message!r}, offline {offline}"
    if answer.code != 201:
        told_with_a_path(answer, spec)
        return "refused by the schema or a rule"
    return what_the_operator_makes(client, answer.body)


def told_with_a_path(answer: Answer, spec: Json) -> None:
    """A refusal names the field: in its causes, or, of strict decoding, in the message."""
    assert answer.code in (400, 422), answer.message
    fields = [cause.get("field", "") for cause in answer.causes]
    assert any(field.startswith("spec") for field in fields) or 'unknown field "spec.' in answer.message, answer.message


def what_the_operator_makes(client: Client, stored: Json) -> str:
    """Everything that reconcile does with the object, up to the API server's word on the Job."""
    metadata = stored["metadata"] | {"namespace": "default", "uid": "0b0e3f0e-0d5a-4a65-8a1c-6f2f5f1f2a11"}
    job, problem = read(stored | {"metadata": metadata})
    assert problem is None, problem
    for lists in (Settings(), LISTS):
        decision = decide(job, Observed(), lists, NOW)
        compute(job, Observed(), decision, NOW, lists)
        allowlists.problem(job.spec, lists)
    decision = decide(job, Observed(), Settings(), NOW)
    if decision.problem:
        assert decision.problem.path.startswith("spec"), decision.problem
        assert decision.problem.message
        return "refused by the operator"
    if decision.waiting:
        return f"waiting: {decision.waiting}"
    recipe = build(job, 1, Settings())
    child = jobs.job(job, recipe, 1, Settings())
    config = jobs.config_map(job, recipe, 1, Settings(), "")
    assert client.request("POST", CONFIG_MAPS, json.loads(json.dumps(config))).code == 201
    made = client.request("POST", JOBS, json.loads(json.dumps(child)))
    if made.code == 201:
        return "a Job"
    told = refusal(ApiError(made.code, made.body.get("reason", ""), made.message))
    assert "spec.template." in told.message or (told.path == "spec.podTemplate" and job.spec.pod_template), made.message
    return "a Job that the API server refuses"
