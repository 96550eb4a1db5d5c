"""`python -m dev.generate` writes every generated file; `--check` fails if one differs (`make verify`).

The generators that import torch and TRL run only where they are installed; the rest of the project never needs them.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / "operator/alignment_operator/api"


def formatted(source: str) -> str:
    """Return Python source as `ruff format` writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--line-length=120", "--isolated", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def trl_models() -> str:
    """Return `api/trl.py`."""
    from dev.generate import trl_models

    return formatted(trl_models.source())


FILES = {API / "trl.py": trl_models}


def main() -> int:
    """Write the files, or compare them; the exit code is 1 if a compared file differs."""
    parser = argparse.ArgumentParser(prog="python -m dev.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    stale = []
    for path, generate in FILES.items():
        text = generate()
        if check and (not path.exists() or path.read_text() != text):
            stale.append(path.relative_to(ROOT))
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in stale:
        print(f"{path} is out of date: run `make generate`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
