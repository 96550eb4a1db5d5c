"""The few buildah calls that image builds need."""

import os
import subprocess
from pathlib import Path

from dev.cluster.report import ClusterError

CERTIFICATES = Path("/etc/ssl/certs")
# crun, buildah's first choice where it is installed, refuses cgroups in hybrid mode; runc takes both.
RUNTIME = ("--runtime", "runc")


def exists(image: str) -> bool:
    return subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True).returncode == 0


def build(context: Path, image: str, arguments: dict[str, str], target: str, cache: Path | None) -> None:
    """Builds one target of the context's Dockerfile with layer cache.

    Args:
        context: folder that holds the Dockerfile and everything that it copies.
        image: name and tag of the result.
        arguments: build arguments.
        target: the stage to stop at; empty: the last.
        cache: the host's uv cache, mounted so that wheels that this machine has are not fetched again.

    Raises:
        ClusterError: with the end of the builder's output.
    """
    command = ["buildah", *RUNTIME, "build", "--layers", "--network", "host", "--tag", image]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    if target:
        command += ["--target", target]
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
        command += ["--build-arg", "UV_CACHE_DIR=/var/cache/host-uv", "--volume", f"{cache}:/var/cache/host-uv:rw"]
    if CERTIFICATES.is_dir():  # a machine behind a proxy has its authority here
        command += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    run(*command, str(context))


def push(image: str, destination: str) -> None:
    """Pushes to a registry on this machine: fastest compression, as nothing travels."""
    quick = ("--compression-format", "zstd", "--compression-level", "1")
    run("buildah", "push", "--tls-verify=false", *quick, image, f"docker://{destination}")


def run(*command: str) -> str:
    """Runs a command; its output goes to the caller only if it fails.

    Raises:
        ClusterError: with the end of its output.
    """
    environment = os.environ | {"BUILDAH_ISOLATION": "oci"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
