"""Command line of the local cluster: `python3 -m dev.cluster --help`."""

import argparse
import sys

from . import binaries, bring_up, gpus, kueue, packages, processes, teardown, tools
from .layout import OWNER, RECORDS, here
from .report import ClusterError, say


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dev.cluster", description="A real Kubernetes on this machine.")
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up", help="start the cluster, or what of it is missing")
    up.add_argument("--gpus", type=int, metavar="N", help="advertise N fake GPUs on the node")
    up.set_defaults(run=_up)
    commands.add_parser("down", help="remove it with its objects and volumes").set_defaults(run=_down)
    commands.add_parser("stop", help="remove it from the machine, keep objects and volumes").set_defaults(run=_stop)
    commands.add_parser("status", help="what runs").set_defaults(run=_status)
    fake = commands.add_parser("gpus", help="advertise N fake GPUs on the running node")
    fake.add_argument("count", type=int)
    fake.set_defaults(run=_gpus)
    commands.add_parser("kueue", help="install Kueue on the running cluster").set_defaults(run=_kueue)
    build = commands.add_parser("build", help="put tools into .cluster/bin; without a name: all of the cluster")
    build.add_argument("tool", nargs="*", choices=[*tools.BY_NAME, []])
    build.set_defaults(run=_build)
    install = commands.add_parser("install", help="install a Debian package that only tests need")
    install.add_argument("package", nargs="+", choices=packages.OPTIONAL)
    install.set_defaults(run=_install)
    return parser


def _up(options: argparse.Namespace) -> int:
    bring_up.up(here())
    if options.gpus is not None:
        gpus.advertise(here(), options.gpus)
    return 0


def _down(options: argparse.Namespace) -> int:
    bring_up.down(here(), keep=False)
    return 0


def _stop(options: argparse.Namespace) -> int:
    bring_up.down(here(), keep=True)
    return 0


def _status(options: argparse.Namespace) -> int:
    """Exit code 0 only when this clone's cluster runs whole."""
    if not OWNER.exists():
        say("no cluster on this machine")
        return 1
    say(f"cluster of {teardown.owner().root}")
    running = {path.stem: processes.is_running(path.stem) for path in sorted(RECORDS.glob("*.json"))}
    for name, alive in running.items():
        say(f"  {'runs' if alive else 'DEAD'}  {name}")
    return 0 if all(running.values()) and teardown.owner() == here() else 1


def _gpus(options: argparse.Namespace) -> int:
    gpus.advertise(here(), options.count)
    return 0


def _kueue(options: argparse.Namespace) -> int:
    kueue.install(here())
    return 0


def _build(options: argparse.Namespace) -> int:
    chosen = tuple(tools.BY_NAME[name] for name in options.tool) or tools.CORE
    binaries.provide(here(), chosen)
    for tool in chosen:
        say(str(here().bin / tool.name))
    return 0


def _install(options: argparse.Namespace) -> int:
    packages.install({name: packages.OPTIONAL[name] for name in options.package})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
