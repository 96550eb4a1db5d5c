"""Every example is applied as it stands; those for a CPU run to their end, on a tiny model of the real one's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.kube import ROOT, Job, kubectl

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
ARTIFACT = {
    "smollm2-dpo-qlora": "adapter",
    "smollm2-dpo-full": "model",
    "smollm2-dpo-precomputed": "model",
    "smollm2-dpo-quantized-reference": "model",
    "smollm2-orpo": "adapter",
}


def by_name(name: str) -> Path:
    return ROOT / "examples" / f"{name}.yaml"


@pytest.fixture
def example(workspace: str) -> Iterator[list[Job]]:
    """Jobs that the test applied; deleted after it."""
    made: list[Job] = []
    yield made
    for job in made:
        job.delete()


def applied(namespace: str, made: list[Job], name: str) -> Job:
    kubectl("apply", "-f", str(by_name(name)), namespace=namespace)
    made.append(Job(namespace, name))
    return made[-1]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_api_server_accepts_every_example(workspace: str, path: Path) -> None:
    assert yaml.safe_load(path.read_text())["metadata"]["name"] == path.stem
    assert "created (server dry run)" in kubectl("apply", "--dry-run=server", "-f", str(path), namespace=workspace)


@pytest.mark.parametrize("name", ARTIFACT)
def test_an_example_for_a_cpu_completes(workspace: str, example: list[Job], name: str) -> None:
    status = applied(workspace, example, name).complete()
    assert status["result"]["step"] == status["progress"]["totalSteps"] == 20
    assert status["result"]["artifacts"][ARTIFACT[name]]


def test_sft_and_dpo_applied_together_run_one_after_the_other(workspace: str, example: list[Job]) -> None:
    dpo = applied(workspace, example, "smollm2-dpo-after-sft")
    dpo.wait("waiting for the other job", lambda s: "WaitingForJob" in str(s.get("conditions")), timeout=30)
    sft = applied(workspace, example, "smollm2-sft")
    assert sft.complete()["method"] == "SFT"
    status = dpo.complete()
    assert status["method"] == "DPO"
    assert status["result"]["artifacts"]["adapter"]
