"""Flux's kustomize-controller on an API server of the tests, and source-controller's part of its work.

Source-controller makes an archive of a git commit and names it in the GitRepository's status. Its program cannot be
built from Go modules; what it does for one repository is done here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from dev.cluster import modules
from dev.cluster.layout import here
from tests.integration.apiserver import ApiServer, free_port, process

Object = dict[str, Any]
SOURCES = ("gitrepositories", "ocirepositories", "buckets", "externalartifacts")


def install_crds(server: ApiServer) -> None:
    """Flux's own, from its modules."""
    kustomize, _ = modules.download(here(), "kustomize-controller", "github.com/fluxcd/kustomize-controller")
    source, _ = modules.download(here(), "source-controller", "github.com/fluxcd/source-controller")
    files = [kustomize / "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"]
    files += [source / f"config/crd/bases/source.toolkit.fluxcd.io_{name}.yaml" for name in SOURCES]
    server.kubectl("apply", "--server-side", *(f"-f={file}" for file in files))
    server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"-f={file}" for file in files))


@contextmanager
def kustomize_controller(server: ApiServer, folder: Path) -> Iterator[None]:
    # Without the gate a commit waits for the end of the health check before it, which may take days here.
    flags = ["--feature-gates=CancelHealthCheckOnNewRevision=true"]
    flags += ["--watch-all-namespaces=true", "--enable-leader-election=false", "--no-remote-bases=true"]
    flags += ["--metrics-addr=0", f"--health-addr=127.0.0.1:{free_port()}", "--interval-jitter-percentage=0"]
    environment = {"KUBECONFIG": str(server.kubeconfig), "RUNTIME_NAMESPACE": "default", "TMPDIR": str(folder)}
    with process("kustomize-controller", folder, *flags, environment=environment):
        yield


class Repository:
    """A git repository, and the GitRepository that tells Flux of its commits. `archives`: a folder that HTTP serves."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path, archives: Path, url: str) -> None:
        self.server, self.namespace, self.folder, self.archives, self.url = server, namespace, folder, archives, url
        self._git("init", "--quiet", "--initial-branch=main")
        spec = {"url": "https://git.invalid/alignment.git", "interval": "1h", "ref": {"branch": "main"}}
        metadata = {"name": "alignment", "namespace": namespace}
        manifest = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository"}
        server.kubectl("apply", "-f", "-", input=json.dumps({**manifest, "metadata": metadata, "spec": spec}))

    def commit(self, files: dict[str, Object | None]) -> str:
        """Write, or remove (None), these files, commit, and publish; returns the revision as Flux writes it."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content)) if content else path.unlink()
        self._git("add", "--all")
        self._git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=change")
        revision = f"main@sha1:{self._git('rev-parse', 'HEAD').decode().strip()}"
        self._publish(revision)
        return revision

    def _publish(self, revision: str) -> None:
        # of the tree: an archive of a commit begins with a header that Flux does not read
        archive = gzip.compress(self._git("archive", "--format=tar", "HEAD^{tree}"))
        digest = hashlib.sha256(archive).hexdigest()
        (self.archives / f"{digest}.tar.gz").write_bytes(archive)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        artifact = {"revision": revision, "digest": f"sha256:{digest}", "lastUpdateTime": now, "size": len(archive)}
        artifact |= {"path": f"{digest}.tar.gz", "url": f"{self.url}/{digest}.tar.gz"}
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": revision}
        status = {"artifact": artifact, "conditions": [{**ready, "lastTransitionTime": now}], "observedGeneration": 1}
        about = ["gitrepository", "alignment", "-n", self.namespace, "--subresource=status", "--type=merge"]
        self.server.kubectl("patch", *about, "-p", json.dumps({"status": status}))

    def _git(self, *args: str) -> bytes:
        return subprocess.run(["git", *args], cwd=self.folder, check=True, capture_output=True).stdout


@contextmanager
def repository(server: ApiServer, namespace: str, folder: Path) -> Iterator[Repository]:
    """An empty repository; its archives are served on a loopback port while the block runs."""
    work, archives = folder / "work", folder / "archives"
    work.mkdir()
    archives.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archives))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield Repository(server, namespace, work, archives, f"http://127.0.0.1:{http.server_port}")
        http.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
