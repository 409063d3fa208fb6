"""The sandbox as a program: ``python -m ogc_async.sandbox --print-env``."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ogc_async import sandbox as lazy
from ogc_async.sandbox.enclosure import EnclosureMissing
from ogc_async.sandbox.isolation import isolate
from ogc_async.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    from ogc_async.sandbox import Sandbox

STOP_TIMEOUT_S = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args(arguments)
    # Before its libraries are imported, which read variables; its machines' scripts are not to meet the user's either.
    isolate()
    try:
        return asyncio.run(_serve(_settings(options), prints_env=options.print_env, is_attached=options.attached))
    except (OSError, ValueError, EnclosureMissing) as error:
        print(f"ogc sandbox: {error}", file=sys.stderr)  # noqa: T201  # the program's own voice
        return 1


async def _serve(settings: SandboxSettings, *, prints_env: bool, is_attached: bool) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if is_attached:
        loop.add_reader(sys.stdin, _hear_end, loop, stopped)
    async with lazy.Sandbox(settings) as sandbox:
        _warn(sandbox)
        if prints_env:
            _print_env(sandbox)
        await stopped.wait()
        # Connections and commands of others are still there to be cut: should one of them not let go, this ends anyway.
        faulthandler.dump_traceback_later(STOP_TIMEOUT_S, exit=True)
    return 0


def _hear_end(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin)
        stopped.set()


def _warn(sandbox: Sandbox) -> None:
    enclosure = sandbox.enclosure
    where = (
        "inside bubblewrap" if enclosure.programs else f"with all its rights, without bubblewrap: {enclosure.reason}"
    )
    text = (
        f"The sandbox serves at {sandbox.url}. Scripts sent to its machines run on THIS machine as this user, {where}."
    )
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _print_env(sandbox: Sandbox) -> None:
    """The variables, then the end of the output: whoever reads them knows that they are complete."""
    for name, value in sandbox.env().items():
        print(f"{name}={value}")  # noqa: T201
    sys.stdout.flush()
    if not sys.stdout.isatty():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    default = SandboxSettings()
    parser = argparse.ArgumentParser(
        prog="ogc sandbox", description="Serve a pretend EC2 and Compute Engine, and their SSH hosts, on loopback."
    )
    add: Any = parser.add_argument
    add("--print-env", action="store_true", help="print the variables that lead here, KEY=VALUE, once it serves")
    add("--attached", action="store_true", help="end when the standard input ends, as it does with whoever started it")
    add("--port", type=int, default=default.port, help="port of the APIs; 0 takes a free one (%(default)s)")
    add("--ssh-port", type=int, default=default.ssh_port, help="port of every machine's SSH server (%(default)s)")
    add("--no-ssh", action="store_true", help="machines hold their addresses, and nobody answers there")
    add("--no-user-data", action="store_true", help="machines run nothing of the user data that they are launched with")
    add("--no-systemd", action="store_true", help="machines have cron, and no systemd")
    add("--enclosure", choices=("auto", "on", "off"), default=default.enclosure, help="bubblewrap's (%(default)s)")
    add("--login-shell", default=default.login_shell, metavar="SHELL", help="of every machine (%(default)s)")
    add("--network", default=default.network, help="where the machines' addresses are, in 127.0.0.0/8 (%(default)s)")
    add("--seed", type=int, default=default.seed, help="the same seed makes the same ids and delays (%(default)s)")
    add("--time-scale", type=float, default=1.0, metavar="N", help="run N times as fast as the real time")
    add("--boot", type=_span, default=default.boot, metavar="MIN:MAX", help="seconds from launch to running (0.5:1.5)")
    add("--ssh-delay", type=_span, default=default.ssh_delay, metavar="MIN:MAX", help="then, until SSH listens (0:0)")
    add("--latency", type=_pair, action="append", default=[], metavar="OP=SECONDS", help="of calls; * is any other")
    add("--capacity", type=_pair, action="append", default=[], metavar="ZONE=N", help="machines a zone has room for")
    add("--quota", type=int, default=default.quota, metavar="N", help="machines that may run in a region")
    add("--late-deaths", type=float, default=0.0, metavar="SHARE", help="of machines that end while they boot")
    add("--boot-errors", type=float, default=0.0, metavar="SHARE", help="the same, for an error of the cloud's own")
    add("--reclaims", type=float, default=0.0, metavar="SHARE", help="of spot machines that are taken back")
    add("--late-addresses", type=float, default=0.0, metavar="SECONDS", help="from running to a public address")
    add("--no-public-addresses", action="store_true", help="EC2's subnets give none, unless a launch asks for it")
    add("--lag", type=float, default=0.0, metavar="SECONDS", help="until a new machine shows up in descriptions")
    add("--tag-lag", type=float, default=0.0, metavar="SECONDS", help="until its tags do")
    add("--slowness", type=_span, default=default.slowness, metavar="MIN:MAX", help="seconds more a call, drawn anew")
    add("--lost-replies", type=float, default=0.0, metavar="SHARE", help="of calls that work and are never answered")
    add("--duplicates", type=float, default=0.0, metavar="SHARE", help="of calls that are carried out twice")
    add("--throttling", type=_pair, action="append", default=[], metavar="OP=SHARE", help="refused; * is any other")
    add("--outage", type=_time, action="append", default=[], metavar="FROM:SECONDS", help="when all is unavailable")
    add("--cut", type=_time, action="append", default=[], metavar="FROM:SECONDS", help="when connections break off")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="OP=FAULT",
        help="lost-reply, twice, a code…: once; or FAULT:lasting",
    )
    add("--lies", action="append", default=[], metavar="OP=KIND", help="html, empty, redirect…: from the start on")
    add("--deny", action="append", default=[], metavar="OP", help="an operation that the credentials may not call")
    add("--accounts", type=int, default=1, metavar="N", help="accounts and projects, with credentials each (1)")
    add("--session-tokens", action="store_true", help="EC2's keys are temporary: calls need their session token")
    add("--no-limits", action="store_true", help="without the clouds' request limits")
    add("--google-project", default=default.google_project, help="the project that Compute Engine knows (%(default)s)")
    add("--google-zone", default=default.google_zone, help="the zone that the variables name (%(default)s)")
    add("--os-login", action="store_true", help="the Compute project has OS Login on: keys in metadata are ignored")
    add("--no-compute", action="store_true", help="Compute Engine's API is not enabled in the project")
    add("--concurrent-operations", type=int, default=default.concurrent_operations, metavar="N", help="of one type")
    return parser


def _settings(options: argparse.Namespace) -> SandboxSettings:
    return SandboxSettings(
        port=options.port,
        ssh_port=options.ssh_port,
        has_ssh=not options.no_ssh,
        runs_user_data=not options.no_user_data,
        has_systemd=not options.no_systemd,
        enclosure=options.enclosure,
        login_shell=options.login_shell,
        network=options.network,
        seed=options.seed,
        time_scale=options.time_scale,
        boot=options.boot,
        ssh_delay=options.ssh_delay,
        latency=dict(options.latency),
        capacity={zone: int(count) for zone, count in options.capacity},
        quota=options.quota,
        late_deaths=options.late_deaths,
        boot_errors=options.boot_errors,
        reclaims=options.reclaims,
        late_addresses=options.late_addresses,
        has_public_addresses=not options.no_public_addresses,
        lag=options.lag,
        tag_lag=options.tag_lag,
        slowness=options.slowness,
        lost_replies=options.lost_replies,
        duplicates=options.duplicates,
        throttling=dict(options.throttling),
        outages=tuple(options.outage),
        cuts=tuple(options.cut),
        faults=tuple(options.fault),
        lies=tuple(options.lies),
        accounts=options.accounts,
        has_session_tokens=options.session_tokens,
        denied=frozenset(options.deny),
        has_limits=not options.no_limits,
        google_project=options.google_project,
        google_zone=options.google_zone,
        has_compute=not options.no_compute,
        has_os_login=options.os_login,
        concurrent_operations=options.concurrent_operations,
    )


def _span(text: str) -> tuple[float, float]:
    """``MIN:MAX``, or one figure for both."""
    low, _, high = text.partition(":")
    span = float(low), float(high or low)
    if not 0 <= span[0] <= span[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not MIN:MAX in seconds")
    return span


def _time(text: str) -> tuple[float, float]:
    """``FROM:SECONDS``."""
    start, separator, lasts = text.partition(":")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM:SECONDS")
    return float(start), float(lasts)


def _pair(text: str) -> tuple[str, float]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    return name, float(value)


if __name__ == "__main__":
    sys.exit(main())
