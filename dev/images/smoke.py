"""Checks an image without a cluster: everything imports as any UID on a read-only root, and the compilers work."""

from dev.cluster.report import ClusterError, step

from . import container

UID = 12345  # in no image's passwd file
IMPORTS = {
    "operator": "import kopf, kubernetes, pydantic, aiohttp, jwt, prometheus_client, yaml, importlib.util as u;"
    " assert u.find_spec('torch') is None and u.find_spec('alignment_operator')",
    "trainer": "import torch, transformers, trl, peft, bitsandbytes, datasets, importlib.util as u;"
    " assert u.find_spec('alignment_trainer')",
}
# Inductor compiles C++ on a CPU; Triton compiles its CUDA driver stub with the same gcc and the Python headers.
COMPILES = """
import subprocess, sysconfig, torch
compiled = torch.compile(lambda x: torch.nn.functional.silu(x) * x.sum())
x = torch.randn(64)
torch.testing.assert_close(compiled(x), torch.nn.functional.silu(x) * x.sum())
include = sysconfig.get_paths()["include"]
open("/tmp/a.c", "w").write("#include <Python.h>\\n")
subprocess.run(["gcc", "-shared", "-fPIC", f"-I{include}", "/tmp/a.c", "-o", "/tmp/a.so"], check=True)
"""
# The trainer draws with the list of fonts that the build made: a list made anew would have another time.
DRAWS = """
import glob, os
from alignment_trainer.report import curves
curves._figure(1, "title")
import matplotlib.font_manager
(built,) = glob.glob("/opt/fonts/fontlist-*.json")
copy = os.path.join("/tmp/matplotlib", os.path.basename(built))
assert os.stat(copy).st_mtime_ns == os.stat(built).st_mtime_ns
"""
WRITES_TO_ROOT = "open('/app/x', 'w')"


def check(target: str, image: str) -> None:
    """Imports everything, proves that the root is read-only and, in the trainer, that the compilers work.

    Raises:
        ClusterError: with the container's output.
    """
    with step(f"{target} image: imports as UID {UID}, read-only root"):
        _expect(image, IMPORTS[target], True)
        _expect(image, WRITES_TO_ROOT, False)
    if target == "trainer":
        with step("trainer image: Inductor and gcc compile"):
            _expect(image, COMPILES, True)
        with step("trainer image: curves are drawn with the list of fonts of its build"):
            _expect(image, DRAWS, True)


def _expect(image: str, code: str, success: bool) -> None:
    done = container.run(image, ["python", "-c", code], UID)
    if (done.returncode == 0) != success:
        expected = "success" if success else "an error"
        raise ClusterError(f"{code}\nended with {done.returncode}, not {expected}:\n{done.stderr[-3000:]}")
