"""`python3 -m dev.images build|push|check|names [operator] [trainer]`; an image with unchanged inputs is left alone."""

import argparse
import contextlib
import fcntl
import json
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dev.cluster import layout, packages
from dev.cluster.report import ClusterError, say, step

from . import base, buildah, smoke
from .inputs import ROOT, TARGETS, Inputs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dev.images", description=__doc__)
    parser.add_argument("command", choices=["build", "push", "check", "names"])
    parser.add_argument("targets", nargs="*", metavar="operator|trainer", help="default: both")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no image is called {' or '.join(sorted(unknown))}: choose from {', '.join(TARGETS)}")
    try:
        with _alone():
            _carry_out(given.command, given.targets or list(TARGETS))
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


def _carry_out(command: str, targets: list[str]) -> None:
    if command == "names":
        say(json.dumps({target: name(target) for target in targets}))
        return
    packages.install()
    for target in targets:
        if command == "push":
            push(target)
        elif command == "build":
            build(target)
        else:
            smoke.check(target, build(target))


def name(target: str) -> str:
    """The image's name with its content tag: what Kubernetes shall run, so that IfNotPresent never runs old code."""
    return f"{layout.REGISTRY}/alignment-{target}:{Inputs(target, base.KEY).tag}"


def build(target: str) -> str:
    """Builds the target unless this machine's image store has these very inputs; returns its name."""
    image = name(target)
    if buildah.exists(image):
        say(f"         {image} is built")
        return image
    base_image = base.ensure()
    with step(f"build {image}"), tempfile.TemporaryDirectory(prefix="alignment-image-") as folder:
        Inputs(target, base.KEY).stage(Path(folder))
        buildah.build(Path(folder), image, {"BASE_IMAGE": base_image}, target, _uv_cache())
    return image


def push(target: str) -> None:
    """Pushes the target under its content tag and `dev`, building it first if need be; then notes it in images.json."""
    image = name(target)
    if _in_registry(image):
        say(f"         {image} is in the registry")
    else:
        build(target)
        with step(f"push {image}"):
            buildah.push(image, image)
            buildah.push(image, f"{image.rpartition(':')[0]}:dev")
    _note(target, image)


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


if __name__ == "__main__":
    sys.exit(main())
