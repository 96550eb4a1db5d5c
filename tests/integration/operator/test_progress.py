"""The progress endpoint with real tokens of real pods, signed by a real API server."""

import asyncio
import base64
import json
import ssl
import time
from pathlib import Path

import aiohttp
import pytest

from alignment_operator.resources import CONFIG_MAPS, JOBS, SECRETS
from tests.integration.operator.test_life import RESULT

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = json.loads((ROOT / "docs/contract/progress.example.json").read_text())


class Trainer:
    """The trainer's side: its pod, its token, the CA that it was given."""

    def __init__(self, operator, world, apiserver) -> None:
        self.operator, self.world, self.apiserver = operator, world, apiserver
        self.pod: dict = {}
        self.ca = ""

    async def start(self) -> "Trainer":
        await self.world.apply()
        self.pod = await self.world.pod(await self.world.job())
        await self.world.runs(self.pod)
        self.ca = (await self.world.get(CONFIG_MAPS, self.world.child(1)))["data"]["ca.crt"]
        await self.world.until(lambda o: o["status"]["phase"] == "Running")
        return self

    def token(self, audience: str = "alignment-operator.io", pod: dict | None = None) -> str:
        meta = (pod or self.pod)["metadata"]
        bound = ["--bound-object-kind=Pod", f"--bound-object-name={meta['name']}", f"--bound-object-uid={meta['uid']}"]
        command = ["create", "token", "default", f"-n={self.world.namespace}", f"--audience={audience}", *bound]
        return self.apiserver.kubectl(*command).stdout.strip()

    async def post(self, body: str | bytes | dict, *, token: str | None = None, run: int = 1, name: str = "") -> int:
        """HTTP status of one report."""
        path = f"/v1/namespaces/{self.world.namespace}/alignmentjobs/{name or self.world.name}/runs/{run}/progress"
        data = json.dumps(body) if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {token or self.token()}", "Content-Type": "application/json"}
        context = ssl.create_default_context(cadata=self.ca)
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.operator.progress_url + path, data=data, headers=headers, ssl=context) as answer,
        ):
            return answer.status


@pytest.fixture
async def trainer(shared_operator, world, apiserver) -> Trainer:
    apiserver.kubectl("create", "serviceaccount", "default", f"-n={world.namespace}", check=False)
    return await Trainer(shared_operator, world, apiserver).start()


def report(step: int, phase: str = "Training") -> dict:
    """The contract's example at another step."""
    return {**EXAMPLE, "alignment": {**EXAMPLE["alignment"], "step": step, "phase": phase}}


async def test_a_report_of_the_runs_pod_reaches_status_in_the_schemas_words(trainer, world):
    assert await trainer.post(EXAMPLE) == 200
    job = await world.until(lambda o: o["status"]["progress"]["step"] == EXAMPLE["alignment"]["step"])
    progress, sent = job["status"]["progress"], EXAMPLE["alignment"]
    assert progress["run"] == 1
    assert progress["percentage"] == EXAMPLE["trainerStatus"]["progressPercentage"]
    for name in ("attempt", "phase", "totalSteps", "epoch", "stepSeconds", "tokensPerSecond", "lastCheckpointStep"):
        assert progress[name] == sent[name]
    assert {m["name"]: m["value"] for m in job["status"]["metrics"]}["rewards/margins"] == "0.0241"
    owners = {
        m["manager"]: json.dumps(m["fieldsV1"]) for m in job["metadata"]["managedFields"] if m["operation"] == "Apply"
    }
    assert "f:conditions" not in owners["alignment-operator-progress"]


async def test_a_flood_of_reports_is_one_write_and_the_last_one_is_not_lost(trainer, world):
    token = trainer.token()
    await trainer.post(report(1), token=token)
    await world.until(lambda o: o["status"]["progress"]["step"] == 1)
    started, versions = time.monotonic(), set()
    for step in range(2, 40):
        assert await trainer.post(report(step), token=token) == 200
        versions.add((await world.get_job())["metadata"]["resourceVersion"])
    assert time.monotonic() - started < 14, "this machine is too slow for this test"
    assert len(versions) == 1
    await world.until(lambda o: o["status"]["progress"]["step"] == 39)
    assert time.monotonic() - started < 25


async def test_a_change_of_phase_is_told_soon(trainer, world):
    token = trainer.token()
    await trainer.post(report(1), token=token)
    await world.until(lambda o: o["status"]["progress"]["step"] == 1)
    started = time.monotonic()
    await trainer.post(report(2, "Saving"), token=token)
    await world.until(lambda o: o["status"]["progress"]["phase"] == "Saving")
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("not json", 422),
        ({}, 422),
        ({"trainerStatus": {"progressPercentage": 101}}, 422),
        ({"trainerStatus": {}, "alignment": {"step": -1}}, 422),
        ({"trainerStatus": {}, "alignment": {"phase": "Dreaming"}}, 422),
        ({"trainerStatus": {}, "alignment": {"unknown": 1}}, 422),
        ('{"trainerStatus": {}, "alignment": {"epoch": NaN}}', 422),
        (json.dumps({"trainerStatus": {"metrics": [{"name": "a", "value": "1"}] * 257}}), 422),
        (json.dumps({"trainerStatus": {"x": "y" * 70000}}), 413),
    ],
    ids=["no-json", "empty", "percentage", "negative", "phase", "field", "nan", "metrics", "too-large"],
)
async def test_a_bad_report_is_refused_and_harms_nothing(trainer, world, what, code):
    assert await trainer.post(what) == code
    assert (await world.get_job())["status"].get("progress", {}).get("lastReportTime") is None


async def test_tokens_that_are_not_this_pods_for_this_endpoint_are_refused(trainer, world):
    good = trainer.token()
    head, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["kubernetes.io"]["pod"]["uid"] = "another"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for token in (
        "nonsense",
        f"{head}.{forged}.{signature}",
        f"{unsigned}.{forged}.",
        trainer.token(audience="https://kubernetes.default.svc"),
    ):
        assert await trainer.post(EXAMPLE, token=token) == 401
    no_pod = trainer.apiserver.kubectl(
        "create", "token", "default", f"-n={world.namespace}", "--audience=alignment-operator.io"
    ).stdout.strip()
    assert await trainer.post(EXAMPLE, token=no_pod) == 401
    assert await trainer.post(EXAMPLE, token=good) == 200


async def test_a_pod_may_only_speak_for_its_own_job_and_run(trainer, world):
    await world.apply("other-" + world.name)
    other = await world.pod(await world.job(f"other-{world.name}-r1"))
    await world.runs(other)
    foreign = trainer.token(pod=other)
    assert await trainer.post(EXAMPLE, token=foreign) == 403
    assert await trainer.post(EXAMPLE, run=2) == 403
    assert await trainer.post(EXAMPLE, name="nobody") == 403
    assert await trainer.post(EXAMPLE) == 200


async def test_reports_after_the_end_are_refused_and_the_result_stays(trainer, world):
    token = trainer.token()
    assert await trainer.post(report(3), token=token) == 200
    await world.ends(trainer.pod, 0, json.dumps({**RESULT, "outcome": "Complete"}))
    await world.job_ends(world.child(1), "Complete", "CompletionsReached", "done")
    done = await world.until(lambda o: o["status"]["phase"] == "Complete")
    assert done["status"]["progress"]["step"] == RESULT["step"]
    assert await trainer.post(report(4), token=token) == 410
    await world.quiet()
    assert (await world.get_job())["status"]["progress"]["step"] == RESULT["step"]


async def test_a_new_run_starts_with_empty_progress(trainer, world):
    token = trainer.token()
    await trainer.post(report(9), token=token)
    await world.until(lambda o: o["status"]["progress"]["step"] == 9)
    await world.change(rerun="again")
    await world.gone(JOBS, world.child(1))
    await world.ends(trainer.pod, 75)
    now = await world.until(lambda o: o["status"]["run"] == 2)
    assert "step" not in now["status"].get("progress", {})
    assert not now["status"].get("metrics")
    assert await trainer.post(report(10), token=token) in (403, 410)


async def test_what_is_served_is_the_secrets_certificate(shared_operator, world):
    secret = await world.get(SECRETS, "alignment-operator-tls")
    assert set(secret["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    address = ("127.0.0.1", shared_operator.progress_port)
    served = await asyncio.to_thread(ssl.get_server_certificate, address)
    assert served.strip() in base64.b64decode(secret["data"]["tls.crt"]).decode()
