"""`python3 -m dev.demo run`: the whole demonstration. `fetch [FOLDER]`: only its model and data."""

import argparse
import sys
from pathlib import Path

from dev.cluster.report import ClusterError, say

from . import flow
from .fetch import fetch


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dev.demo", description=__doc__)
    parser.add_argument("command", choices=["run", "fetch"])
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    try:
        if given.command == "run":
            flow.run()
        else:
            fetch(given.folder)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
