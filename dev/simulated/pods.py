"""How simulated nodes and pods live: KWOK Stages, each `when an object looks like this, it soon looks like that`.

A pod that is bound to a node runs after START seconds and succeeds after the cluster's `pod_seconds`. Annotations of
the pod (in an AlignmentJob: spec.podTemplate.metadata.annotations) change that:

    simulated/seconds: "30s"      runs for so long
    simulated/exit-code: "70"     fails with that exit code
    simulated/message: "..."      leaves this termination message, with either end
    simulated/endless: "true"     never ends by itself

A pod that is deleted while it runs ends with exit code 75, as a trainer does that was stopped, and then goes.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

SECONDS = "simulated/seconds"
EXIT_CODE = "simulated/exit-code"
MESSAGE = "simulated/message"
ENDLESS = "simulated/endless"
STOPPED = 75
START_MILLISECONDS = 200

_RUNNING = """
{{ $now := Now }}
conditions:
{{ range list "PodReadyToStartContainers" "Initialized" "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""
_ENDED = """
{{ $now := Now }}
conditions:
{{ range list "PodReadyToStartContainers" "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "False", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ $start := or .status.startTime $now }}
{{ $told := index (or .metadata.annotations dict) "@MESSAGE_ANNOTATION@" }}
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: @CODE@
      reason: @REASON@
      message: {{ if $told }}{{ $told | Quote }}{{ else }}@MESSAGE@{{ end }}
      startedAt: {{ $start | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
phase: @PHASE@
"""
_NODE = """
{{ $now := Now }}
conditions:
- type: Ready
  status: "True"
  reason: Simulated
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
allocatable: @RESOURCES@
capacity: @RESOURCES@
nodeInfo:
  {architecture: amd64, bootID: "", containerRuntimeVersion: kwok, kernelVersion: kwok, kubeProxyVersion: kwok,
   kubeletVersion: kwok, machineID: "", operatingSystem: linux, osImage: "", systemUUID: ""}
phase: Running
"""
NODE_RESOURCES = {"cpu": "1k", "memory": "16Ti", "pods": "1M", "nvidia.com/gpu": "100k"}


def stages(pod_seconds: float, message: str) -> list[Json]:
    """Every Stage. `message`: the termination message of pods that succeed."""
    node = _NODE.replace("@RESOURCES@", json.dumps(NODE_RESOURCES))
    return [
        _stage("Node", "node-ready", [_ready_is_not_true()], node),
        *_living(pod_seconds, message),
        *_deleted(),
    ]


def _living(pod_seconds: float, message: str) -> list[Json]:
    """A pod starts, and ends by itself with 0 or with the code of its annotation."""
    alive = [_is(".metadata.deletionTimestamp", "DoesNotExist")]
    starting = [*alive, _is(".status.phase", "In", "Pending"), _ready_is_not_true()]
    running = [*alive, _is(".status.phase", "In", "Running"), _is(_annotation(ENDLESS), "DoesNotExist")]
    after = {
        "durationMilliseconds": int(pod_seconds * 1000),
        "durationFrom": {"expressionFrom": _annotation(SECONDS)},
    }
    code = f'{{{{ index $.metadata.annotations "{EXIT_CODE}" }}}}'
    return [
        _stage("Pod", "pod-running", starting, _RUNNING, {"durationMilliseconds": START_MILLISECONDS}),
        _stage(
            "Pod",
            "pod-succeeded",
            [*running, _is(_annotation(EXIT_CODE), "DoesNotExist")],
            _ended("Succeeded", "0", "Completed", message),
            after,
        ),
        _stage(
            "Pod",
            "pod-failed",
            [*running, _is(_annotation(EXIT_CODE), "Exists")],
            _ended("Failed", code, "Error", ""),
            after,
        ),
    ]


def _deleted() -> list[Json]:
    """A pod that is deleted ends with the code of a stop, and goes."""
    deleted = [_is(".metadata.deletionTimestamp", "Exists")]
    return [
        _stage(
            "Pod",
            "pod-stopped",
            [*deleted, _is(".status.phase", "In", "Pending", "Running")],
            _ended("Failed", str(STOPPED), "Error", ""),
        ),
        _stage("Pod", "pod-gone", [*deleted, _is(".status.phase", "In", "Succeeded", "Failed")], None),
    ]


def node(name: str) -> Json:
    """A Node that KWOK keeps ready."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"type": "simulated"}}}


def _stage(kind: str, name: str, when: list[Json], status: str | None, delay: Json | None = None) -> Json:
    """`status`: template of the new status; None: the object is deleted."""
    spec: Json = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": when},
        "next": {"delete": True} if status is None else {"statusTemplate": status},
    }
    if delay:
        spec["delay"] = delay
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _is(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def _ready_is_not_true() -> Json:
    return _is('.status.conditions.[] | select( .type == "Ready" ) | .status', "NotIn", "True")


def _annotation(name: str) -> str:
    return f'.metadata.annotations["{name}"]'


def _ended(phase: str, code: str, reason: str, message: str) -> str:
    text = _ENDED.replace("@PHASE@", phase).replace("@CODE@", code).replace("@REASON@", reason)
    text = text.replace("@MESSAGE_ANNOTATION@", MESSAGE)
    return text.replace("@MESSAGE@", json.dumps(message))  # a JSON text is a YAML text
