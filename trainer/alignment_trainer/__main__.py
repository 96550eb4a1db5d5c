"""Entry of a pod: `python -m alignment_trainer`; and for people, `python -m alignment_trainer estimate recipe.yaml`.

In a pod it takes no arguments: the run is described by recipe.yaml and run.yaml in $ALIGNMENT_CONFIG_DIR.
"""

import sys

from .stopping import StopSignal

if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__, end="")
        sys.exit(0)
    if sys.argv[1:2] == ["estimate"]:
        from .memory.command import main as estimate

        sys.exit(estimate(sys.argv[2:]))
    stop = StopSignal()  # before anything that takes time to import: PID 1 without a handler ignores SIGTERM
    from .launch import main

    sys.exit(main(stop))
