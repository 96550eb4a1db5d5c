"""The only file that talks to the API server (kopf's own watches apart). Bodies are plain dicts on both sides.

`kubernetes.aio` brings the connection: kubeconfig and in-cluster credentials, token refresh, TLS. Its typed models
are not used: they cost 115 us an object and drop fields that they do not know.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config
from pydantic_core import from_json

from .resources import Resource

FIELD_MANAGER = "alignment-operator"
PROGRESS_FIELD_MANAGER = "alignment-operator-progress"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PAGE = 100  # objects of one LIST page: bounds the memory that one answer takes (with 500 a start took 30 MiB more)
TIMEOUT = 30.0  # seconds for one call
PROGRESS_TIMEOUT = 5.0  # the progress of all other jobs waits for it
WATCH_SECONDS = 600  # a watch is renewed after so long
WATCH_SILENCE = 150.0  # a bookmark comes each minute: a watch that is silent for longer is dead

Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused. `status` is the HTTP status, `reason` Kubernetes' word for it, `message` for people."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """The object was changed since we read it: read again."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def expired(self) -> bool:
        """The API server has forgotten the version that a watch was to begin at: LIST again."""
        return self.status == 410

    @property
    def refused(self) -> bool:
        """The object itself is at fault (invalid, or an admission plugin says no): trying again changes nothing."""
        return self.status in (400, 403, 422)

    @property
    def passing(self) -> bool:
        """The API server is overloaded, starting or ending (its authentication starts later than it does)."""
        return self.status in (401, 429) or self.status >= 500


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `path` without query; `limit`: seconds for the whole answer, or aiohttp's own words."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content_type: str = "application/json"
    limit: aiohttp.ClientTimeout | float = TIMEOUT


async def connect(kubeconfig: str | None = None) -> Cluster:
    """Log in with the kubeconfig, or with the pod's service account when there is none."""
    configuration = client.Configuration()
    if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
        await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    else:
        config.load_incluster_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = 0  # the workers bound it, and the Lease must not wait for one of theirs
    # Unless there is a proxy to be found in it, the environment is not looked through at each request, in a thread.
    configuration.client_session_kwargs = {"trust_env": bool(urllib.request.getproxies_environment())}
    return Cluster(client.ApiClient(configuration))


class Cluster:
    """The calls that the operator makes. Every method raises ApiError, aiohttp.ClientError or TimeoutError."""

    def __init__(self, api: client.ApiClient, guard: Callable[[], None] = lambda: None) -> None:
        self._api, self._guard = api, guard

    def guarded(self, guard: Callable[[], None]) -> Cluster:
        """The same connection; before every call that may change something `guard` is called, and may raise."""
        return Cluster(self._api, guard)

    async def close(self) -> None:
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object as it is now (a quorum read); None when there is none."""
        try:
            return await self.call(Request("GET", resource.path(namespace, name)))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def pages(self, resource: Resource, namespace: str | None, **query: str) -> AsyncIterator[Object]:
        """LIST, consistent, page by page; every page carries the resourceVersion of the whole list."""
        token = ""
        while True:
            asked = query | {"limit": str(PAGE)} | ({"continue": token} if token else {})
            page = await self.call(Request("GET", resource.path(namespace), asked))
            yield page
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def watch(
        self, resource: Resource, namespace: str | None, version: str, **query: str
    ) -> AsyncIterator[Object]:
        """Events since that resourceVersion (empty: everything there is comes first), bookmarks included.

        Ends when the server ends the stream. Raises ApiError 410 (`expired`) when the server no longer knows that
        version: LIST again.
        """
        query |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"resourceVersion": version} if version else {}
        silence = aiohttp.ClientTimeout(total=WATCH_SECONDS + TIMEOUT, sock_read=WATCH_SILENCE)
        answer = await self._send(Request("GET", resource.path(namespace), query, limit=silence))
        response = answer.response  # of aiohttp, for reading line by line
        try:
            async for line in response.content:
                event = from_json(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                yield event
        finally:
            response.close()

    async def create(self, resource: Resource, manifest: Object, *, dry_run: bool = False) -> Object:
        """POST a namespaced manifest; `dry_run`: ask whether it would be taken, and change nothing."""
        path = resource.path(manifest["metadata"]["namespace"])
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return await self.call(Request("POST", path, query, manifest))

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, subresource: str | None = None
    ) -> Object:
        """JSON merge patch. A resourceVersion in it makes a lost race a conflict."""
        path = resource.path(namespace, name, subresource)
        return await self.call(Request("PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, MERGE_PATCH))

    async def apply_progress(self, resource: Resource, manifest: Object) -> Object:
        """Server-side apply of status.progress and status.metrics, with the field owner of the progress endpoint."""
        path = resource.path(manifest["metadata"]["namespace"], manifest["metadata"]["name"], "status")
        query = {"fieldManager": PROGRESS_FIELD_MANAGER, "force": "true"}
        return await self.call(Request("PATCH", path, query, manifest, APPLY_PATCH, PROGRESS_TIMEOUT))

    async def replace(self, resource: Resource, manifest: Object) -> Object:
        """PUT; the manifest's resourceVersion makes a lost race a conflict."""
        path = resource.path(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return await self.call(Request("PUT", path, {"fieldManager": FIELD_MANAGER}, manifest))

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete this very object in the background (its dependents go with it); success when it is already gone."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        try:
            await self.call(Request("DELETE", resource.path(namespace, name), body=body))
        except ApiError as error:
            if not (error.not_found or error.conflict):  # conflict: the name now belongs to another object
                raise

    async def raw(self, path: str) -> Object:
        """GET of a path that is no resource (`/openid/v1/jwks`)."""
        return await self.call(Request("GET", path))

    async def call(self, request: Request) -> Object:
        """What none of the above does; returns the decoded answer."""
        response = await self._send(request)
        return from_json(await response.read())

    async def _send(self, request: Request) -> Any:
        """The response, its body not read. Raises ApiError."""
        if request.method != "GET":
            self._guard()
        # the API server's key set has a media type of its own, and it takes no other
        headers = {"Accept": "application/json, application/jwk-set+json", "Content-Type": request.content_type}
        method, path, body = request.method, request.path, request.body
        await self._api.update_params_for_auth(headers, None, ["BearerToken"], path, method, body)
        url = self._api.configuration.host + quote(path) + ("?" + urlencode(request.query) if request.query else "")
        response = await self._api.call_api(method, url, headers, body=body, _request_timeout=request.limit)
        if response.status >= 400:
            raise _error(response.status, await response.read())
        return response


def _error(status: int, text: bytes) -> ApiError:
    """The API server answers with a `Status` object; what stands before it (a proxy) may not."""
    try:
        answer = json.loads(text)
        return ApiError(status, answer.get("reason", ""), answer.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", text[:200].decode(errors="replace"))
