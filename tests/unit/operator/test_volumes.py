"""Several pods on one claim."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.volumes import output_claim, output_problem
from tests.unit.operator.builders import alignment_job


def claim(*modes: str) -> dict[str, Any]:
    return {"spec": {"accessModes": list(modes)}}


@pytest.mark.parametrize(
    ("nodes", "found", "reason"),
    [
        pytest.param(1, claim("ReadWriteOnce"), None, id="one-pod-takes-any"),
        pytest.param(1, None, None, id="one-pod-is-told-by-the-scheduler"),
        pytest.param(2, claim("ReadWriteMany"), None, id="shared"),
        pytest.param(2, claim("ReadWriteOnce", "ReadWriteMany"), None, id="shared-among-others"),
        pytest.param(2, claim("ReadWriteOnce"), "VolumeNotShared", id="not-shared"),
        pytest.param(2, claim("ReadWriteOncePod"), "VolumeNotShared", id="one-pod-only"),
        pytest.param(2, None, "VolumeNotFound", id="missing"),
    ],
)
def test_several_pods_need_a_shared_claim(nodes: int, found: dict[str, Any] | None, reason: str | None) -> None:
    problem = output_problem(alignment_job(nodes=nodes), found)
    assert (problem.reason if problem else None) == reason
    if problem:
        assert problem.path == "spec.output.volume.persistentVolumeClaim.claimName"
        assert "models" in problem.message


@pytest.mark.parametrize(
    ("nodes", "volume", "name"),
    [
        (2, {"persistentVolumeClaim": {"claimName": "models"}}, "models"),
        (1, {"persistentVolumeClaim": {"claimName": "models"}}, None),
        (2, {"nfs": {"server": "s", "path": "/"}}, None),
    ],
    ids=["claim", "one-pod", "not-a-claim"],
)
def test_a_claim_is_read_only_when_it_matters(nodes: int, volume: dict[str, Any], name: str | None) -> None:
    assert output_claim(alignment_job(nodes=nodes, output={"volume": volume})) == name
