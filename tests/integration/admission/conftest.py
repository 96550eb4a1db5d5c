"""The chart's admission policies, as Helm renders them for given values, on a real API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import render
from tests.integration.api.server import Client, Json, manifest
from tests.integration.apiserver import ApiServer
from tests.rule_cases import spec

SECONDS = 60.0
# What every list of tests/allowed_cases.py refuses, and what is warned about whatever the settings.
NOT_ALLOWED: Json = {"image": "busybox"}
UNWISE: Json = {"terminationGracePeriodSeconds": 1}

Install = Callable[..., Client]


@pytest.fixture(scope="session")
def install(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    """`install(namespace, settings, existing=None)`: a namespace with the policies of these chart values.

    `existing`: an AlignmentJob that is there before the policies are.
    """
    made: list[str] = []

    def call(namespace: str, settings: dict[str, Any], existing: Json | None = None) -> Client:
        values = tmp_path_factory.mktemp("values") / "values.yaml"
        values.write_text(yaml.safe_dump({"settings": settings, "watchNamespaces": [namespace]}))
        apiserver.kubectl("create", "namespace", namespace)
        client = Client(apiserver, namespace)
        if existing:
            assert client.create(existing, dry_run=False).code == 201
        policies = yaml.safe_dump_all(policies_of(values, namespace))
        apiserver.kubectl("apply", "--server-side", "-f", "-", input=policies)
        made.append(policies)
        wait_until_in_force(client, refuses="allowed" in settings)
        return client

    yield call
    for policies in made:
        apiserver.kubectl("delete", "-f", "-", "--ignore-not-found", input=policies)


def policies_of(values: Path, name: str) -> list[Json]:
    """What the chart renders for these values; `name` makes the names of these cluster-wide objects unique."""
    only = "--show-only=templates/admission-policies.yaml"
    return render(f"--values={values}", only, f"--set=fullnameOverride={name}")


def wait_until_in_force(client: Client, refuses: bool) -> None:
    """The API server learns of a policy by a watch: a second, more on a busy machine."""
    deadline = time.monotonic() + SECONDS
    probe = manifest(spec(NOT_ALLOWED if refuses else UNWISE), "probe")
    while True:
        answer = client.create(probe)
        if (answer.code == 403) if refuses else answer.warnings:
            return
        assert time.monotonic() < deadline, f"the policies are not in force: {answer}"
        time.sleep(0.2)
