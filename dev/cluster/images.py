"""Two tiny images, made from Debian's static busybox pushed to the local registry over its HTTP API.

`busybox` is the shell of the storage provisioner's helper pods and of tests; `pause` holds a pod's namespaces.
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

from .layout import REGISTRY, REGISTRY_ADDRESS
from .node import PAUSE_IMAGE, SHELL_IMAGE
from .report import step

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_BUSYBOX = "/bin/busybox"


def ensure() -> None:
    """Pushes the images that the registry lacks."""
    wanted = {PAUSE_IMAGE: [_BUSYBOX, "sleep", "infinity"], SHELL_IMAGE: [_BUSYBOX, "sh"]}
    missing = {image: entrypoint for image, entrypoint in wanted.items() if not exists(image)}
    if not missing:
        return
    with step("push the images pause and busybox to the local registry"):
        layer = _layer()
        for image, entrypoint in missing.items():
            _push(image, layer, entrypoint)


def exists(image: str) -> bool:
    name, tag = _split(image)
    return _request("HEAD", f"/v2/{name}/manifests/{tag}", accept=_MANIFEST_TYPE) == 200


def _split(image: str) -> tuple[str, str]:
    name, tag = image.removeprefix(f"{REGISTRY}/").split(":")
    return name, tag


def _layer() -> bytes:
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


def _push(image: str, layer: bytes, entrypoint: list[str]) -> None:
    name, tag = _split(image)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    described = [
        (json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        (gzip.compress(layer, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip"),
    ]
    first, *layers = [_upload(name, blob) | {"mediaType": kind} for blob, kind in described]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, "config": first, "layers": layers}
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
