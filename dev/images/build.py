"""Builds and pushes an image unless that was done for these very inputs."""

import contextlib
import fcntl
import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dev.cluster import layout, packages
from dev.cluster.report import ClusterError, say, step

from . import base, buildah
from .inputs import ROOT, Inputs


def name(target: str) -> str:
    """The image's name with its content tag: what Kubernetes shall run, so that IfNotPresent never runs old code."""
    return f"{layout.REGISTRY}/alignment-{target}:{Inputs(target, base.KEY).tag}"


def build(target: str) -> str:
    """Builds the target unless this machine's image store has these very inputs; returns its name."""
    image = name(target)
    packages.install()
    with _alone():
        _build(target, image)
    return image


def _build(target: str, image: str) -> None:
    if buildah.exists(image):
        say(f"         {image} is built")
        return
    base_image = base.ensure()
    with step(f"build {image}"), tempfile.TemporaryDirectory(prefix="alignment-image-") as folder:
        Inputs(target, base.KEY).stage(Path(folder))
        buildah.build(Path(folder), image, {"BASE_IMAGE": base_image}, target, _uv_cache())


def push(target: str) -> str:
    """Pushes the target under its content tag and `dev`, building it first if need be; returns its name.

    The name is noted in `.cluster/images.json`, where the chart's installation and the tests read it.

    Raises:
        ClusterError: no registry answers, or the build or the push failed.
    """
    image = name(target)
    if _in_registry(image):
        say(f"         {image} is in the registry")
    else:
        packages.install()
        with _alone():
            _build(target, image)
            with step(f"push {image}"):
                buildah.push(image, image)
                buildah.push(image, f"{image.rpartition(':')[0]}:dev")
    _note(target, image)
    return image


def _in_registry(image: str) -> bool:
    """Asks the registry for the manifest (OCI distribution API)."""
    repository, _, tag = image.removeprefix(f"{layout.REGISTRY}/").rpartition(":")
    request = urllib.request.Request(f"http://{layout.REGISTRY}/v2/{repository}/manifests/{tag}", method="HEAD")
    request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False
    except OSError as error:
        raise ClusterError(f"no registry answers at {layout.REGISTRY} ({error}): run `make cluster` first") from error


def _note(target: str, image: str) -> None:
    path = layout.Layout(ROOT).base / "images.json"
    path.parent.mkdir(exist_ok=True)
    noted = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(noted | {target: image}, indent=2) + "\n")


def _uv_cache() -> Path:
    """uv's own cache, where a development environment on this machine has left the same wheels."""
    return layout.cache().parent / "uv"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One build at a time on this machine: two would build the same layers twice."""
    layout.cache().mkdir(parents=True, exist_ok=True)
    with open(layout.cache() / "images.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
