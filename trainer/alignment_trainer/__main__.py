"""Entry of a pod: `python -m alignment_trainer`."""

import sys

from .stopping import StopSignal

if __name__ == "__main__":
    stop = StopSignal()  # before anything that takes time to import: PID 1 without a handler ignores SIGTERM
    from .launch import main

    sys.exit(main(stop))
