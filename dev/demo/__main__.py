"""`python3 -m dev.demo fetch [FOLDER]`."""

import argparse
import sys
from pathlib import Path

from dev.cluster.report import ClusterError, say
from dev.images import __main__ as images

from .fetch import fetch


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dev.demo", description=__doc__)
    parser.add_argument("command", choices=["fetch"])
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    try:
        fetch(images.build("trainer"), given.folder)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
