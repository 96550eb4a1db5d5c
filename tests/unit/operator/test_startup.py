"""How long a start waits for its rights, and what it says when it gives up."""

from __future__ import annotations

import logging

import pytest

from alignment_operator import startup
from alignment_operator.cluster import ApiError
from alignment_operator.startup import Forbidden, answered, missing_rule

USER = "system:serviceaccount:ml:operator"
LIST = (
    f'alignmentjobs.alignment-operator.io is forbidden: User "{USER}" cannot list resource "alignmentjobs"'
    ' in API group "alignment-operator.io" at the cluster scope'
)
JOBS_OF_A = (
    f'jobs.batch is forbidden: User "{USER}" cannot create resource "jobs" in API group "batch" in the namespace "a"'
    ': RBAC: role.rbac.authorization.k8s.io "operator" not found'
)
STATUS = f'User "{USER}" cannot patch resource "alignmentjobs/status" in API group "alignment-operator.io"'
PATH = f'forbidden: User "{USER}" cannot get path "/openid/v1/jwks"'


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (LIST, '{apiGroups: ["alignment-operator.io"], resources: ["alignmentjobs"], verbs: ["list"]}, bound to '),
        (
            JOBS_OF_A,
            f'{{apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"]}}, bound to {USER} in namespace a',
        ),
        (STATUS, '{apiGroups: ["alignment-operator.io"], resources: ["alignmentjobs/status"], verbs: ["patch"]}'),
        (PATH, f'{{nonResourceURLs: ["/openid/v1/jwks"], verbs: ["get"]}}, bound to {USER} cluster-wide'),
    ],
    ids=["cluster", "namespace", "subresource", "path"],
)
def test_a_refusal_names_the_rule_that_is_missing(message: str, rule: str) -> None:
    assert (missing_rule(message) or "").startswith(rule)


def test_a_refusal_that_is_not_of_rbac_names_no_rule() -> None:
    assert missing_rule('secrets "tls" is forbidden: exceeded quota: few') is None


class Server:
    """Answers with each of these in turn, then well."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)

    async def __call__(self) -> None:
        if self.answers:
            raise self.answers.pop(0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "RETRY_SECONDS", (0.01, 0.01))


async def test_a_right_that_comes_late_is_waited_for_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    missing = ApiError(403, "Forbidden", LIST)
    with caplog.at_level(logging.WARNING):
        await answered(Server(missing, missing, missing, ApiError(403, "Forbidden", PATH)))
    assert [record.__dict__["error"] for record in caplog.records] == [LIST, PATH]


async def test_a_list_that_took_longer_than_the_api_server_remembers_is_begun_anew() -> None:
    await answered(Server(ApiError(410, "Expired", "The provided continue parameter is too old")))


async def test_a_right_that_does_not_come_ends_the_start_and_is_named() -> None:
    server = Server(*[ApiError(403, "Forbidden", LIST)] * 1000)
    with pytest.raises(Forbidden, match=r'Missing rule: \{apiGroups: \["alignment-operator.io"\].* cluster-wide'):
        await answered(server, forbidden_seconds=0.1)
    assert server.answers


async def test_an_answer_that_will_stay_the_same_is_not_waited_for() -> None:
    with pytest.raises(ApiError, match="422"):
        await answered(Server(ApiError(503, "", ""), ApiError(422, "Invalid", "no")))
