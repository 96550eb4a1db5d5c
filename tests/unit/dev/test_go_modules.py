"""What several programs of dev/go are made of has one version, so that Go compiles it once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[3] / "dev/go"
REFERENCE = "kubernetes"
UNVERSIONED = "v0.0.0"  # how Kubernetes asks for what lies in its own tree
# kubeflow-trainer is what a benchmark compares with: it stays as released. source-controller is not built. Kueue 0.15
# does not compile with the modules of Kubernetes 1.35.
APART = {REFERENCE, "kubeflow-trainer", "kueue", "source-controller"}
# These need other versions than Kubernetes; little else is compiled again because of them.
OWN = {
    "argocd-lua": ("github.com/cyphar/filepath-securejoin",),
    "etcd": ("go.etcd.io/etcd/",),
    "kustomize-controller": ("github.com/opencontainers/go-digest",),
    "kwok": ("k8s.io/cri-",),
}
MEND = """{module}: shared modules have other versions than in {reference}: {different}
In dev/go/{module}: go mod edit -require=NAME@VERSION, -exclude=NAME@NEWER for what others ask for, go mod tidy"""


def required(module: str) -> dict[str, str]:
    """Every module that a go.mod names in `require`, with its version."""
    text = (MODULES / module / "go.mod").read_text()
    blocks = re.findall(r"^require \((.*?)^\)", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^require ([^(\n]+)$", text, re.MULTILINE)
    return {words[0]: words[1] for line in lines if (words := line.split())}


def built() -> list[str]:
    return sorted({path.parent.name for path in MODULES.glob("*/go.mod")} - APART)


@pytest.mark.parametrize("module", built())
def test_shared_modules_have_the_versions_of_kubernetes(module: str) -> None:
    reference = required(REFERENCE)
    different = {
        name: f"{version}, {reference[name]} in {REFERENCE}"
        for name, version in required(module).items()
        if reference.get(name) not in (None, version, UNVERSIONED) and not name.startswith(OWN.get(module, ()))
    }
    assert not different, MEND.format(module=module, reference=REFERENCE, different=different)


def test_kubernetes_is_what_the_others_are_held_to() -> None:
    assert required(REFERENCE)["k8s.io/apimachinery"] == "v0.35.4"
    assert len(built()) > 8
