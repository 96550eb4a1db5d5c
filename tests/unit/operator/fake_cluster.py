"""An API server in a dictionary that dies at a chosen call, for proving that reconcile survives it anywhere.

It keeps what reconcile relies on: resourceVersions, conflicts, AlreadyExists, UID preconditions. tests/integration has
a real one.
"""

from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

from alignment_operator.cluster import ApiError
from alignment_operator.resources import Resource

Object = dict[str, Any]


class Died(BaseException):
    """kill -9: nothing of ours may catch it."""


class FakeCluster:
    """Same methods as Cluster, as far as reconcile uses them. `refuse`: the message for what is `refused`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.calls: list[str] = []
        self.created: list[str] = []
        self.refuse: str | None = None
        self.refused = "Job"
        self._version = 0
        self._die_at: int | None = None
        self._die_after = False

    def die(self, call: int, *, after: bool) -> None:
        """Die at that call (from 0, counted from now): before it has an effect, or after it had."""
        self._die_at, self._die_after = len(self.calls) + call, after

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._act(f"get {resource.kind} {name}", lambda: self.objects.get((resource.kind, namespace, name)))

    async def pages(self, resource: Resource, namespace: str, **query: str) -> AsyncIterator[Object]:
        """Events about pods are asked for by LIST."""
        assert resource.kind == "Event"
        found = [e for e in self.of("Event") if e["involvedObject"]["kind"] == "Pod"]
        yield self._act("list Event", lambda: {"items": [e for e in found if e["metadata"]["namespace"] == namespace]})

    async def create(self, resource: Resource, manifest: Object, *, dry_run: bool = False) -> Object:
        name = manifest.get("reason") or manifest["metadata"]["name"]  # an Event's own name is random
        if dry_run:
            return self._act(f"try {resource.kind} {name}", lambda: self._refuse(manifest) or manifest)
        return self._act(f"create {resource.kind} {name}", lambda: self._create(manifest))

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, subresource: str | None = None
    ) -> Object:
        call = f"patch {resource.kind} {name} {subresource or ''}".strip()
        return self._act(call, lambda: self._patch((resource.kind, namespace, name), patch))

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        self._act(f"delete {resource.kind} {name}", lambda: self._delete((resource.kind, namespace, name), uid))

    def put(self, obj: Object) -> Object:
        """Somebody else's write: the user's, the Job controller's."""
        stored = deepcopy(obj)
        self._version += 1
        stored["metadata"] = {**obj["metadata"], "resourceVersion": str(self._version)}
        stored["metadata"].setdefault("uid", f"uid-{self._version:06}")
        self.objects[stored["kind"], stored["metadata"]["namespace"], stored["metadata"]["name"]] = stored
        return stored

    def of(self, kind: str) -> list[Object]:
        return [obj for (each, _, _), obj in self.objects.items() if each == kind]

    def _act(self, call: str, effect: Any) -> Any:
        dying = self._die_at == len(self.calls)
        self.calls.append(call)
        if dying and not self._die_after:
            raise Died
        try:
            return deepcopy(effect())
        finally:
            if dying:  # also when the answer was a refusal
                raise Died

    def _create(self, manifest: Object) -> Object:
        key = (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if key in self.objects:
            raise ApiError(409, "AlreadyExists", f"{key} exists")
        self._refuse(manifest)
        if manifest["kind"] != "Event":
            self.created.append(f"{key[0]} {key[2]}")
        return self.put(manifest)

    def _refuse(self, manifest: Object) -> None:
        if self.refuse and manifest["kind"] == self.refused:
            raise ApiError(422, "Invalid", self.refuse)

    def _patch(self, key: tuple[str, str, str], patch: Object) -> Object:
        stored = self.objects.get(key)
        if stored is None:
            raise ApiError(404, "NotFound", f"{key} is not there")
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, stored["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", "the object has been modified")
        return self.put(_merged(stored, patch))

    def _delete(self, key: tuple[str, str, str], uid: str) -> None:
        if key in self.objects and self.objects[key]["metadata"]["uid"] == uid:
            del self.objects[key]


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    base = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = _merged(base.get(name), value)
    return base
