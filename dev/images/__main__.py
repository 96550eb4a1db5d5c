"""`python3 -m dev.images build|push|check|names [operator] [trainer]`; an image with unchanged inputs is left alone."""

import argparse
import sys

from dev.cluster.report import ClusterError, say

from . import build, smoke
from .inputs import TARGETS

COMMANDS = {
    "build": build.build,
    "push": build.push,
    "check": lambda target: smoke.check(target, build.build(target)),
    "names": lambda target: say(build.name(target)),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dev.images", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("targets", nargs="*", metavar="operator|trainer", help="default: both")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no image is called {' or '.join(sorted(unknown))}: choose from {', '.join(TARGETS)}")
    try:
        for target in given.targets or TARGETS:
            COMMANDS[given.command](target)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
