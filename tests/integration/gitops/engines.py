"""Argo CD's Lua runner and Flux's health checks as programs: objects go in, their verdicts come out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.apiserver import BIN, ROOT

Object = dict[str, Any]
ARGOCD_CM = ROOT / "gitops/argocd/argocd-cm.yaml"
ACCEPTED, COMPLETE = ROOT / "gitops/flux/accepted.yaml", ROOT / "gitops/flux/complete.yaml"


@dataclass(frozen=True)
class Argo:
    """What Argo CD shows of an object; `result`: what the action makes of it, or `error`: why it does not."""

    health: str
    message: str
    actions: tuple[str, ...]
    result: Object = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Flux:
    """What Flux waits for: kstatus (no healthCheckExprs), and the two Kustomizations of gitops/flux."""

    kstatus: str
    accepted: str
    complete: str


def argo(objects: Iterable[Object], action: str = "") -> list[Argo]:
    """Argo CD with gitops/argocd/argocd-cm.yaml, about every object; `action` is run on each."""
    answers = _ask("argocd-lua", [ARGOCD_CM], [{"object": obj, "action": action} for obj in objects])
    return [
        Argo(
            answer["health"]["status"],
            answer["health"].get("message", ""),
            tuple(sorted(one["name"] for one in answer["actions"] if not one.get("disabled"))),
            answer.get("object", {}),
            answer.get("error", ""),
        )
        for answer in answers
    ]


def flux(objects: Iterable[Object]) -> list[Flux]:
    """kstatus and the expressions of gitops/flux, about every object."""
    answers = _ask("flux-health", [ACCEPTED, COMPLETE], list(objects))
    return [Flux(answer["kstatus"], *answer["exprs"]) for answer in answers]


def _ask(program: str, files: Sequence[Path], lines: Sequence[Object]) -> list[Object]:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(
        [str(BIN / program), *map(str, files)], input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines)
    return answers
