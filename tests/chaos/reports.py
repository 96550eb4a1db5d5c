"""The pods' side of progress: while they run, they report to whichever replica a Service would have chosen.

With real tokens of theirs, over TLS with the CA that their ConfigMap gives them: KWOK's pods cannot.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from alignment_operator.cluster import ApiError, Cluster, Request
from alignment_operator.resources import CONFIG_MAPS, PODS

from .history import JOB_LABEL, RUN_LABEL
from .replicas import Replica

Json = dict[str, Any]
EXAMPLE: Json = json.loads((Path(__file__).resolve().parents[2] / "docs/contract/progress.example.json").read_text())
AUDIENCE = "alignment-operator.io"
EVERY_SECONDS = 2.0
LIMIT_SECONDS = 3.0
NO_ANSWER = 0


class Reports:
    """Of all running pods of some namespaces. `answers`: HTTP status -> how often; NO_ANSWER for none."""

    def __init__(self, cluster: Cluster, replicas: Sequence[Replica], chance: random.Random) -> None:
        self._cluster, self._replicas, self._chance = cluster, replicas, chance
        self._tokens: dict[str, str] = {}
        self._steps: Counter[str] = Counter()
        self._trusted: ssl.SSLContext | None = None
        self.answers: Counter[int] = Counter()

    async def send(self, namespaces: Sequence[str]) -> None:
        """A report of every running pod each two seconds, until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_SECONDS)) as session:
            while True:
                with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                    for pod in await self._running(namespaces):
                        await self._report(session, pod)
                await asyncio.sleep(EVERY_SECONDS)

    async def _running(self, namespaces: Sequence[str]) -> list[Json]:
        found: list[Json] = []
        for namespace in namespaces:
            async for page in self._cluster.pages(PODS, namespace, labelSelector=JOB_LABEL):
                found += page["items"]
        return [pod for pod in found if pod.get("status", {}).get("phase") == "Running"]

    async def _report(self, session: aiohttp.ClientSession, pod: Json) -> None:
        meta = pod["metadata"]
        name, run = meta["labels"][JOB_LABEL], meta["labels"][RUN_LABEL]
        token, context = await self._token(meta), await self._context(meta["namespace"], f"{name}-r{run}")
        self._steps[meta["uid"]] += 1
        body = {**EXAMPLE, "alignment": {**EXAMPLE["alignment"], "step": self._steps[meta["uid"]], "phase": "Training"}}
        replica = self._chance.choice(self._replicas)
        url = f"{replica.progress_url}/v1/namespaces/{meta['namespace']}/alignmentjobs/{name}/runs/{run}/progress"
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(url, json=body, headers=headers, ssl=context) as answer:
                self.answers[answer.status] += 1
        except (aiohttp.ClientError, TimeoutError):
            self.answers[NO_ANSWER] += 1

    async def _token(self, pod: Json) -> str:
        """As the kubelet would project it."""
        if pod["uid"] not in self._tokens:
            bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
            request = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound},
            }
            path = f"/api/v1/namespaces/{pod['namespace']}/serviceaccounts/default/token"
            made = await self._cluster.call(Request("POST", path, body=request))
            self._tokens[pod["uid"]] = made["status"]["token"]
        return self._tokens[pod["uid"]]

    async def _context(self, namespace: str, name: str) -> ssl.SSLContext:
        """Trusts what the first pod's ConfigMap says: the CA stays, whatever happens to the replicas."""
        if self._trusted is None:
            config = await self._cluster.get(CONFIG_MAPS, namespace, name)
            if config is None:
                raise TimeoutError("the ConfigMap is not there")
            self._trusted = ssl.create_default_context(cadata=config["data"]["ca.crt"])
        return self._trusted
