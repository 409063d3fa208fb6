"""Ours alone, from one node to thousands: how overhead, calls, CPU, memory and database time grow with the fleet.

On Compute Engine as well as on EC2. EC2's published limits let an account launch 1,000 machines at once and two more a
second: beyond that it is the cloud that is measured, so larger fleets are on Compute Engine alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.contest import Contestant, race, tell
from benchmarks.figures import exponent, medians
from ogc_async.sandbox.process import read_state, sandbox_process
from ogc_async.ssh.keys import generate_key_pair

OURS = Contestant(name="ogc_async", file="launch/ours_timed.py", environment="ogc_async", packages=("ogc-async",))
LAYOUTS = {
    "aws": {"image": "ubuntu-2404", "size": "t3.small", "call": "RunInstances"},
    "google": {"image": "debian-12", "size": "e2-small", "call": "instances.bulkInsert"},
}
TIMEOUT_S = 900.0
CURVES = ("seconds beyond the slowest boot", "calls", "CPU seconds", "peak MB", "database seconds")
NOT_MEASURED = [
    "more than 1,000 nodes on EC2: its published limits let two machines a second through after the first 1,000",
    "SSH: nodes are launched, not deployed to, and the pretend cloud's machines have no SSH servers here",
    "the start of the Python interpreter and the imports",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Fleets a cloud, laps, and the pretend clouds' boots."""

    counts: Mapping[str, Sequence[int]]
    runs: int
    boot: tuple[float, float]
    latency_s: float = 1.5


def measure(plan: Plan) -> dict[str, Any]:
    """Launch them all; the result is plain JSON, with the exponent of each curve."""
    result: dict[str, Any] = {
        "what": "scale",
        "machine": machine.facts("ogc-async", "aiobotocore", "aiohttp", "sqlalchemy"),
        "cloud": {"boot_s": list(plan.boot), "latency_of_the_launch_call_s": plan.latency_s, "time_scale": 1.0},
        "fleets": {},
        "exponents": {},
        "not_measured": NOT_MEASURED,
    }
    for provider, counts in plan.counts.items():
        fleets = result["fleets"][provider] = {}
        for count in counts:
            laps = [lap(provider, count, plan) for _ in range(plan.runs)]
            fleets[str(count)] = medians(laps)
            tell(f"scale {provider} {count:>5}: {fleets[str(count)]}")
        points = {name: [(int(count), each[name]) for count, each in fleets.items()] for name in CURVES}
        result["exponents"][provider] = {name: exponent(each) for name, each in points.items()}
        tell(f"scale {provider} grows as nodes to the power of: {result['exponents'][provider]}")
    return result


def lap(provider: str, count: int, plan: Plan) -> dict[str, float]:
    """One launch of a whole fleet, against a cloud of its own."""
    layout = LAYOUTS[provider]
    low, high = plan.boot
    options = (
        "--no-ssh",
        *("--ssh-port", str(machine.free_port())),
        *("--boot", f"{low}:{high}"),
        *("--latency", f"{layout['call']}={plan.latency_s}"),
    )
    with TemporaryDirectory(prefix="ogc-bench-") as folder, sandbox_process(*options) as environment:
        generate_key_pair(Path(folder) / "key")
        job = {
            "name": "bench",
            "provider": provider,
            "count": count,
            "time_scale": 1.0,
            "environment": environment,
            "key": str(Path(folder) / "key"),
            "image": layout["image"],
            "size": layout["size"],
        }
        done = race(OURS, job, timeout_s=TIMEOUT_S)
        state = read_state(environment["AWS_ENDPOINT_URL"])
        sandbox_cpu_s = _sandbox_cpu_s()
    calls = state["calls"][provider]
    slowest = max(each["boot_seconds"] for each in state["instances"][provider])
    return {
        "nodes up": done.answer["up"],
        "seconds": done.seconds,
        "seconds beyond the slowest boot": done.seconds - slowest,
        "calls": sum(each["calls"] for each in calls.values()),
        "launch calls": calls[layout["call"]]["calls"],
        "calls answered with an error": sum(each["refused"] for each in calls.values()),
        "CPU seconds": done.cpu_s,
        "peak MB": done.peak_mb,
        "database seconds": done.answer["database_s"],
        "transactions": done.answer["transactions"],
        "CPU seconds of the pretend cloud": sandbox_cpu_s,
    }


def _sandbox_cpu_s() -> float:
    """What the pretend cloud, which has the other half of this machine, needed so far."""
    times = [each.cpu_times() for each in psutil.Process().children() if "ogc_async.sandbox" in each.cmdline()]
    return float(sum(each.user + each.system for each in times))
