"""Warnings at admission are those of status: for every unwise spec, and every pair of two, the same sentences."""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any

import pytest

from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.validation import problems
from alignment_operator.settings import load
from alignment_operator.unwise import of_spec
from tests.integration.admission.conftest import Install
from tests.integration.api.server import Client, Json, manifest
from tests.rule_cases import merge
from tests.unwise_cases import BARE_PODS, GENEROUS_PODS, UNWISE, WISE, spec

PODS = {"warned-bare": BARE_PODS, "warned-generous": GENEROUS_PODS}
PATCHES: dict[str, Json] = {name: patch for name, (patch, _) in UNWISE.items()}


@pytest.fixture(scope="module")
def clients(install: Install) -> dict[str, Client]:
    """A namespace for each kind of the operator's settings."""
    return {name: install(name, {"pods": pods}) for name, pods in PODS.items()}


def at_admission(client: Client, full: Json) -> list[str]:
    """The sentences in the Warning headers of a creation, which must succeed."""
    answer = client.create(manifest(full))
    assert answer.code == 201, answer.message
    return sorted(re.sub(r"^299 - \".*?': (.*)\"$", r"\1", text) for text in answer.warnings)


def in_status(pods: dict[str, Any], full: Json) -> list[str]:
    """The sentences that the operator writes."""
    settings = load(overrides={"pods": pods})
    return sorted(of_spec(AlignmentJob.model_validate(manifest(full)).spec, settings))


@pytest.mark.parametrize("namespace", PODS)
def test_admission_warns_as_status_does(namespace: str, clients: dict[str, Client]) -> None:
    for patch in [*PATCHES.values(), *WISE]:
        full = spec(patch)
        assert at_admission(clients[namespace], full) == in_status(PODS[namespace], full), patch


def test_two_at_a_time_they_agree_too(clients: dict[str, Client]) -> None:
    counted = 0
    for one, other in itertools.combinations(PATCHES.values(), 2):
        full = spec(merge(copy.deepcopy(one), other))
        if problems(manifest(full)):
            continue  # a rule refuses the two together
        counted += 1
        assert at_admission(clients["warned-bare"], full) == in_status(BARE_PODS, full), (one, other)
    assert counted > len(PATCHES) * 3


def test_a_sound_spec_is_taken_in_silence_and_a_warning_refuses_nothing(clients: dict[str, Client]) -> None:
    assert at_admission(clients["warned-bare"], spec({})) == []
    assert len(at_admission(clients["warned-bare"], spec({"nodes": 2, "queueName": "q"}))) == 2
