"""Python imports this by itself at its start (PYTHONPATH): the measured programs run unchanged."""

import os

if os.environ.get("BENCH_RECORD"):
    import bench_probe

    bench_probe.start(os.environ["BENCH_RECORD"])
