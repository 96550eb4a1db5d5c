"""Pod Security Standards, level `restricted`, as a table: the documented controls, each with what it forbids.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (v1.35).
The admission plugin itself judges in the end-to-end tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]

VOLUME_TYPES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
CAPABILITIES = {"NET_BIND_SERVICE"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def containers(pod: Json) -> Iterator[Json]:
    yield from pod.get("containers", [])
    yield from pod.get("initContainers", [])


def _pod(pod: Json) -> Json:
    return pod.get("securityContext", {})


def _all(pod: Json, test: Callable[[Json], bool]) -> bool:
    return all(test(container.get("securityContext", {})) for container in containers(pod))


CONTROLS: dict[str, Callable[[Json], bool]] = {
    # baseline
    "host namespaces": lambda pod: not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
    "privileged containers": lambda pod: _all(pod, lambda c: not c.get("privileged")),
    "host path volumes": lambda pod: not any("hostPath" in volume for volume in pod.get("volumes", [])),
    "host ports": lambda pod: not any(p.get("hostPort") for c in containers(pod) for p in c.get("ports", [])),
    "SELinux": lambda pod: "seLinuxOptions" not in _pod(pod) and _all(pod, lambda c: "seLinuxOptions" not in c),
    "/proc mount type": lambda pod: _all(pod, lambda c: c.get("procMount", "Default") == "Default"),
    "sysctls": lambda pod: not _pod(pod).get("sysctls"),
    # restricted
    "volume types": lambda pod: all(set(v) - {"name"} <= VOLUME_TYPES for v in pod.get("volumes", [])),
    "privilege escalation": lambda pod: _all(pod, lambda c: c.get("allowPrivilegeEscalation") is False),
    "running as non-root": lambda pod: _all(
        pod, lambda c: c.get("runAsNonRoot", _pod(pod).get("runAsNonRoot")) is True
    ),
    "running as non-root user": lambda pod: (
        _pod(pod).get("runAsUser") != 0 and _all(pod, lambda c: c.get("runAsUser") != 0)
    ),
    "seccomp": lambda pod: _all(
        pod, lambda c: (c.get("seccompProfile") or _pod(pod).get("seccompProfile") or {}).get("type") in SECCOMP
    ),
    "capabilities": lambda pod: _all(
        pod,
        lambda c: (
            "ALL" in c.get("capabilities", {}).get("drop", [])
            and set(c.get("capabilities", {}).get("add", [])) <= CAPABILITIES
        ),
    ),
}


def violations(pod: Json) -> list[str]:
    """The controls that a pod spec breaks."""
    return [name for name, admits in CONTROLS.items() if not admits(pod)]
