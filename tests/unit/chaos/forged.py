"""Audit logs that never were: every write is one line, as the API server would have written it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.history import JOB_LABEL, RUN_LABEL, History

Json = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
OPERATORS = ("replica-0", "replica-1")


class Log:
    """Each call is one second and one resourceVersion later than the one before."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.clock = 0

    @property
    def history(self) -> History:
        return History(self.events)

    def write(
        self, user: str, verb: str, resource: str, obj: Json, *, version: int | None = None, **about: Any
    ) -> Json:
        """An answer with the object; returns it with the resourceVersion that it now has."""
        self.clock += 1
        metadata = obj["metadata"] | {"resourceVersion": str(version or self.clock)}
        stored = {**obj, "metadata": metadata}
        self._add(user, verb, resource, metadata, stored, **about)
        return stored

    def delete(self, user: str, resource: str, obj: Json) -> None:
        """The object is gone; the answer is a Status, as for Jobs."""
        self.clock += 1
        answer = {"kind": "Status", "metadata": {}, "status": "Success", "details": {"uid": obj["metadata"]["uid"]}}
        self._add(user, "delete", resource, obj["metadata"], answer)

    def _add(
        self,
        user: str,
        verb: str,
        resource: str,
        meta: Json,
        answer: Json,
        subresource: str = "",
        uri: str = "/",
        code=200,
    ) -> None:
        time = (START + timedelta(seconds=self.clock)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        about = {"resource": resource, "namespace": meta["namespace"], "name": meta["name"]}
        self.events.append(
            {
                "stage": "ResponseComplete",
                "verb": verb,
                "requestURI": uri,
                "user": {"username": f"system:serviceaccount:operator:{user}"},
                "objectRef": about | ({"subresource": subresource} if subresource else {}),
                "responseStatus": {"code": code},
                "responseObject": answer,
                "requestReceivedTimestamp": time,
                "stageTimestamp": time,
            }
        )


def alignment_job(
    name: str = "demo", uid: str = "aj-1", run: int | None = None, ended: str = "", **status: Any
) -> Json:
    """An AlignmentJob whose status says that run, and how it ended (`Complete`, `Failed`)."""
    if run is not None:
        status |= {"run": run}
        status["conditions"] = [{"type": ended, "status": "True", "reason": "Because"}] if ended else []
    return {"metadata": _meta(name, uid), **({"status": status} if status else {})}


def child(name: str = "demo-r1", uid: str = "job-1", run: str = "1", owner: str = "aj-1", job: str = "demo") -> Json:
    """A Job, ConfigMap or Service of a run."""
    meta = _meta(name, uid) | {"labels": {JOB_LABEL: job, RUN_LABEL: run}}
    return {"metadata": meta | {"ownerReferences": [{"uid": owner, "controller": True}]}}


def pod(uid: str = "pod-1", run: str = "1", owner: str = "job-1", phase: str = "Running") -> Json:
    return {**child(f"demo-r{run}-0-{uid}", uid, run, owner), "status": {"phase": phase}}


def lease(holder: str, version: int = 0) -> Json:
    return {"metadata": _meta("alignment-operator", "lease"), "spec": {"holderIdentity": holder, "renewTime": version}}


def _meta(name: str, uid: str) -> Json:
    return {"namespace": "chaos", "name": name, "uid": uid}
