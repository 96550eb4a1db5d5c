"""The few requests that the cluster's own start needs: ready?, apply, patch."""

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .layout import API_SERVER, NODE_NAME, Layout
from .report import ClusterError

FIELD_MANAGER = "local-cluster"


def get(layout: Layout, path: str) -> Any:
    """GETs as the administrator; the decoded JSON or text, None when the server is not there or says no."""
    try:
        return _call(layout, urllib.request.Request(API_SERVER + path))
    except OSError:
        return None


def is_ready(layout: Layout) -> bool:
    return get(layout, "/readyz") == "ok"


def node_is_ready(layout: Layout, since: datetime) -> bool:
    """Whether the kubelet has said so after `since`: what it said before a restart is still in etcd."""
    node = get(layout, f"/api/v1/nodes/{NODE_NAME}") or {}
    tainted = any(taint["key"].startswith("node.kubernetes.io/") for taint in node.get("spec", {}).get("taints", []))
    ready = [condition for condition in node.get("status", {}).get("conditions", []) if condition["type"] == "Ready"]
    return not tainted and any(
        condition["status"] == "True" and datetime.fromisoformat(condition["lastHeartbeatTime"]) >= since
        for condition in ready
    )


def apply(layout: Layout, objects: Sequence[Mapping[str, Any]]) -> None:
    """Server-side apply.

    Raises:
        ClusterError: with kubectl's message.
    """
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    command = [
        str(layout.bin / "kubectl"),
        f"--kubeconfig={layout.kubeconfig}",
        "apply",
        "--server-side",
        "--force-conflicts",
    ]
    done = subprocess.run(
        [*command, f"--field-manager={FIELD_MANAGER}", "-f", "-"], input=text, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ClusterError(f"kubectl apply failed: {done.stderr.strip()}")


def patch_node_status(layout: Layout, status: Mapping[str, Any]) -> None:
    request = urllib.request.Request(
        f"{API_SERVER}/api/v1/nodes/{NODE_NAME}/status",
        data=json.dumps({"status": status}).encode(),
        method="PATCH",
        headers={"Content-Type": "application/merge-patch+json"},
    )
    try:
        _call(layout, request)
    except OSError as error:
        raise ClusterError(f"the node's status could not be patched: {error}") from error


def _call(layout: Layout, request: urllib.request.Request) -> Any:
    context = ssl.create_default_context(cafile=layout.certificate("ca"))
    context.load_cert_chain(layout.certificate("admin"), layout.key("admin"))
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(request, timeout=5) as answer:
        text = answer.read().decode()
    return json.loads(text) if "json" in answer.headers["Content-Type"] else text
