"""A minimal HTTP client of the API server: dry-run creates and the exact error that a user's tool would get."""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from alignment_operator.api import constants
from tests.integration.apiserver import ApiServer

Json = dict[str, Any]


def manifest(spec: Json, name: str = "case") -> Json:
    """Return an AlignmentJob with this spec."""
    return {"apiVersion": constants.API_VERSION, "kind": constants.KIND, "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Answer:
    """What the server said: status code, body, and the values of its Warning headers."""

    code: int
    body: Json
    warnings: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        return self.body.get("message", "")

    @property
    def causes(self) -> list[Json]:
        return (self.body.get("details") or {}).get("causes", [])


class Client:
    """Speaks to one API server as its administrator."""

    def __init__(self, server: ApiServer, namespace: str = "default") -> None:
        self.server = server
        self.context = ssl.create_default_context(cafile=str(server.ca_cert))
        self.path = f"/apis/{constants.API_VERSION}/namespaces/{namespace}/{constants.PLURAL}"

    def request(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Answer:
        """Send one request and return the answer, whatever it is."""
        headers = {"Authorization": f"Bearer {self.server.token}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=30) as response:
                return Answer(response.status, json.load(response), response.headers.get_all("Warning") or [])
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.load(error))

    def create(self, obj: Json, dry_run: bool = True, field_validation: str = "Strict") -> Answer:
        """Create an AlignmentJob, by default as a dry run with strict field validation (as kubectl asks for)."""
        dry = "&dryRun=All" if dry_run else ""
        return self.request("POST", f"{self.path}?fieldValidation={field_validation}{dry}", obj)

    def patch(self, name: str, patch: Json, subresource: str = "") -> Answer:
        """Merge-patch an AlignmentJob, or its status."""
        path = f"{self.path}/{name}{subresource}"
        return self.request("PATCH", path, patch, kind="application/merge-patch+json")

    def put_status(self, name: str, status: Json) -> Answer:
        """Write the whole status."""
        return self.patch(name, {"status": status}, "/status")
