"""`python -m alignment_operator`: `run` the operator, `render` or `import` a job without a cluster, print the `crd`.

Only `run` imports kopf and the Kubernetes client.
"""

import argparse
import asyncio
import gc
import logging
import os
import sys
from typing import Any

from .settings import SettingsProblem, load

LEASE_LOST = os.EX_TEMPFAIL  # nothing is wrong with this process: started again, it is a candidate again
log = logging.getLogger(__package__)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0 when stopped by a signal, 2 for a usage error, 75 without the Lease, 1 for the rest."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in ("render", "import", "crd"):
        return _tool(argv[0], argv[1:])
    parser = argparse.ArgumentParser("alignment_operator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _run_arguments(commands.add_parser("run", help="run the operator"))
    commands.add_parser("render", help="print the ConfigMap, Service and Job of an AlignmentJob", add_help=False)
    commands.add_parser("import", help="turn a TRL recipe into an AlignmentJob", add_help=False)
    commands.add_parser("crd", help="print the CustomResourceDefinition", add_help=False)
    return _run(parser.parse_args(argv))


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", metavar="FILE", help="YAML; keys as in settings.py")
    parser.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's service account, else $KUBECONFIG")
    parser.add_argument("--namespace", help="of the operator's Lease and certificate; default: $POD_NAMESPACE")
    parser.add_argument("--watch-namespace", action="append", help="may be repeated; default: the whole cluster")
    parser.add_argument("--progress-url", help="how pods reach the progress endpoint; none: no endpoint")
    parser.add_argument("--progress-port", type=int)
    parser.add_argument("--health-port", type=int)
    parser.add_argument("--bind", default="0.0.0.0", help="address to listen on")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", default="json", choices=("json", "text"))


def _run(options: argparse.Namespace) -> int:
    import uvloop

    from . import logs
    from .leader import LeaseLost
    from .process import run
    from .resync import CrdMissing
    from .startup import Forbidden

    logs.configure(options.log_level, options.log_format)
    _collect_seldom()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(load(options.settings, _overrides(options)), options.kubeconfig, options.bind))
    except (SettingsProblem, CrdMissing, Forbidden) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except LeaseLost as lost:
        log.error("no longer the leader: %s", lost)
        return LEASE_LOST
    return 0


def _collect_seldom() -> None:
    """Cycles are rare here, and what is parsed of JSON makes Python look for some every few objects."""
    gc.freeze()  # what was imported stays
    gc.set_threshold(5_000, 10, 10)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line or the environment says wins over the file."""
    flags = {
        "namespace": options.namespace or os.environ.get("POD_NAMESPACE"),
        "watch_namespaces": options.watch_namespace,
        "health_port": options.health_port,
    }
    progress = {"url": options.progress_url, "port": options.progress_port}
    given = {name: value for name, value in flags.items() if value is not None}
    return given | {"progress": {name: value for name, value in progress.items() if value is not None}}


def _tool(name: str, argv: list[str]) -> int:
    if name == "render":
        from .render import main as tool
    elif name == "import":
        from .importer import main as tool
    else:
        from .api.crd import main as tool
    return tool(argv) or 0


if __name__ == "__main__":
    sys.exit(main())
