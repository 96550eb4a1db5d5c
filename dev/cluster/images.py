"""Three tiny images, pushed to the local registry over its HTTP API.

`pause` holds a pod's namespaces, `busybox` (Debian's static one) is the shell of the storage provisioner's helper pods,
`kubectl` is that shell with our kubectl, for tests that talk to the API server from within a pod.
"""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from .layout import REGISTRY, REGISTRY_ADDRESS, Layout
from .node import KUBECTL_IMAGE, PAUSE_IMAGE, SHELL_IMAGE
from .report import step

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_BUSYBOX = "/bin/busybox"


def ensure(layout: Layout) -> None:
    """Pushes the images that the registry lacks."""
    sleep, shell = [_BUSYBOX, "sleep", "infinity"], [_BUSYBOX, "sh"]
    wanted = {PAUSE_IMAGE: (sleep, [_shell]), SHELL_IMAGE: (shell, [_shell])}
    wanted[KUBECTL_IMAGE] = (shell, [_shell, lambda: _kubectl(layout)])
    for image, (entrypoint, layers) in wanted.items():
        if not exists(image):
            with step(f"push {image}"):
                _push(image, [layer() for layer in layers], entrypoint)


def ensure_program(image: str, program: Path, place: str) -> None:
    """Pushes an image of one static program at that absolute path, unless the registry has it."""
    if not exists(image):
        with step(f"push {image}"):
            _push(image, [_single(place.lstrip("/"), program)], [place])


def exists(image: str) -> bool:
    name, tag = _split(image)
    return _request("HEAD", f"/v2/{name}/manifests/{tag}", accept=_MANIFEST_TYPE) == 200


def _split(image: str) -> tuple[str, str]:
    name, tag = image.removeprefix(f"{REGISTRY}/").split(":")
    return name, tag


def _kubectl(layout: Layout) -> bytes:
    return _single("bin/kubectl", layout.bin / "kubectl")


def _single(name: str, program: Path) -> bytes:
    """A tar of one program."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_file(tar, name, program.read_bytes(), 0o755)
    return buffer.getvalue()


def _shell() -> bytes:
    """A tar of busybox, a link for each of its programs, and the few files that programs expect."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o755)):
            tar.addfile(_entry(directory, tarfile.DIRTYPE, mode))
        with open(_BUSYBOX, "rb") as program:
            _add_file(tar, "bin/busybox", program.read(), 0o755)
        for applet in subprocess.run([_BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if applet != "busybox":
                link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
                link.linkname = "busybox"
                tar.addfile(link)
        # Without this a static program asks for name services that need shared libraries.
        _add_file(tar, "etc/nsswitch.conf", b"hosts: files dns\n", 0o644)
        _add_file(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644)
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _push(image: str, layers: list[bytes], entrypoint: list[str]) -> None:
    name, tag = _split(image)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
    }
    described = _upload(name, json.dumps(config).encode()) | {"mediaType": "application/vnd.oci.image.config.v1+json"}
    kind = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    packed = [_upload(name, gzip.compress(layer, compresslevel=1, mtime=0)) | kind for layer in layers]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, "config": described, "layers": packed}
    _request("PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest).encode(), kind=_MANIFEST_TYPE)


def _upload(name: str, blob: bytes) -> dict[str, object]:
    """Uploads a blob in one piece and returns its descriptor."""
    digest = _digest(blob)
    with _open(urllib.request.Request(_url(f"/v2/{name}/blobs/uploads/"), data=b"", method="POST")) as opened:
        place = opened.headers["Location"]
    join = "&" if "?" in place else "?"
    _request("PUT", f"{place}{join}digest={digest}", blob, kind="application/octet-stream")
    return {"digest": digest, "size": len(blob)}


def _request(method: str, place: str, body: bytes | None = None, kind: str = "", accept: str = "*/*") -> int:
    headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
    request = urllib.request.Request(_url(place), data=body, method=method, headers=headers)
    try:
        with _open(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        if method == "HEAD":
            return error.code
        raise


def _open(request: urllib.request.Request):
    # An empty proxy table: the registry is on this machine, whatever the environment says about proxies.
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)


def _url(place: str) -> str:
    return place if place.startswith("http") else f"http://{REGISTRY_ADDRESS}{place}"


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
