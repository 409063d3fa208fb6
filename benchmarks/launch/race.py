"""The launch race: how long until a whole fleet is reachable, what it asks of the API, and what a crash leaves behind.

Everybody launches on a pretend EC2 of their own in the same run, with EC2's published token buckets and a launch call
that takes 1.5 s. A fleet is reachable when the contestant has given all addresses and an SSH server has greeted at
each. Times are seconds of the pretend cloud's clock; where that runs faster than the real one, all that is computed,
here and in the cloud, counts that many times more, while waiting costs the same: no favour to who computes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncssh

from benchmarks import machine
from benchmarks.contest import Contestant, ContestantFailed, at_the_gate, race, tell
from benchmarks.figures import medians
from benchmarks.postgres import postgres
from ogc_async.sandbox.process import read_state, sandbox_process

OURS = Contestant(name="ogc_async", file="launch/ours.py", environment="ogc_async", packages=("ogc-async",))
CONTESTANTS = (
    OURS,
    Contestant(
        name="boto3, a call a node, 50 threads",
        file="launch/boto3_threads.py",
        environment="boto3",
        packages=("boto3",),
    ),
    Contestant(
        name="apache-libcloud, 50 threads",
        file="launch/libcloud_threads.py",
        environment="libcloud",
        packages=("apache-libcloud",),
    ),
    Contestant(
        name="ogc 2.1.9",
        file="launch/ogc_2.py",
        environment="ogc",
        packages=("ogc", "apache-libcloud"),
        options={"workers": 5},
    ),
    Contestant(
        name="floor: boto3, one call for all",
        file="launch/boto3_one_call.py",
        environment="boto3",
        packages=("boto3",),
    ),
)
SIZE = "t3.small"
GREETING_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is raced: fleets, laps, and the pretend cloud's boots and pace; and how many nodes a crash is tried with.

    ``most`` is the largest fleet of a contestant, by name, where its own bound is too large for the time there is.
    """

    counts: Sequence[int]
    runs: int
    crash_count: int
    boot: tuple[float, float] = (20.0, 30.0)
    latency_s: float = 1.5
    time_scale: float = 1.0
    contestants: Sequence[Contestant] = CONTESTANTS
    most: Mapping[str, int] | None = None
    lap_s: float = 3600.0
    long_lap_s: float = 60.0
    """A contestant whose lap took longer than that, in real seconds, runs once."""


def measure(plan: Plan) -> dict[str, Any]:
    """Race them all; the result is plain JSON."""
    result: dict[str, Any] = {
        "what": "launch",
        "machine": machine.facts("ogc-async", "aiobotocore", "asyncssh"),
        "cloud": {
            "boot_s": list(plan.boot),
            "latency_of_RunInstances_s": plan.latency_s,
            "time_scale": plan.time_scale,
            "limits": "EC2's published token buckets",
        },
        "versions": {},
        "fleets": {},
        "crash": {},
        "crash_count": plan.crash_count,
        "not_measured": [],
    }
    for count in plan.counts:
        fleet = result["fleets"][str(count)] = {}
        for each in plan.contestants:
            most = min(each.most, (plan.most or {}).get(each.name, each.most))
            if count > most:
                result["not_measured"].append(f"{each.name} with {count} nodes: takes too long")
                continue
            fleet[each.name] = _entry(each, count, plan, result)
    for each in plan.contestants:
        if plan.crash_count and not each.name.startswith("floor"):
            result["crash"][each.name] = _crash(each, plan)
    result["not_measured"] += NOT_MEASURED
    return result


NOT_MEASURED = [
    "a real cloud: its API's latency over a network, its capacity, its real boot times",
    "the start of the Python interpreter and the imports, for anybody",
    "the CPU of PostgreSQL, which only ogc 2.1.9 uses here; ogc_async's embedded database is part of its own",
]


def _entry(contestant: Contestant, count: int, plan: Plan, result: dict[str, Any]) -> dict[str, Any]:
    laps: list[dict[str, float]] = []
    for _ in range(plan.runs):
        try:
            laps.append(lap(contestant, count, plan, result["versions"]))
        except ContestantFailed as error:
            tell(f"launch {count:>4}  {contestant.name}: {error}")
            return {"failed": str(error).splitlines()[-1][:200]}
        tell(f"launch {count:>4}  {contestant.name}: {laps[-1]}")
        if laps[-1]["seconds until all are reachable"] > plan.long_lap_s * plan.time_scale:
            break
    return medians(laps)


def lap(contestant: Contestant, count: int, plan: Plan, versions: dict[str, Any]) -> dict[str, float]:
    """One lap against a cloud of its own."""
    with job_for(contestant, count, plan) as job:
        done = race(contestant, job, timeout_s=plan.lap_s)
        greeted = asyncio.run(_greeted(done.answer, int(job["environment"]["OGC_SSH_PORT"])))
        after = state(job)
    versions.setdefault(contestant.name, done.versions)
    machines = after["instances"]["aws"]
    slowest = max(each["boot_seconds"] for each in machines)
    seconds = done.seconds * plan.time_scale + greeted["seconds"] * plan.time_scale
    calls = after["calls"]["aws"]
    return {
        "nodes reachable": greeted["up"],
        "seconds until all are reachable": seconds,
        "seconds beyond the slowest boot": seconds - slowest,
        "calls": sum(each["calls"] for each in calls.values()),
        **{f"calls of {name}": each["calls"] for name, each in sorted(calls.items())},
        "refused calls": sum(each["refused"] for each in calls.values()),
        "CPU seconds": done.cpu_s,
        "peak MB": done.peak_mb,
        "machines": len(machines),
    }


def _crash(contestant: Contestant, plan: Plan) -> dict[str, Any]:
    """Kill it when half of the machines exist, let it clean up by its own means, and count what lives on unknown."""
    with job_for(contestant, plan.crash_count, plan) as job, TemporaryDirectory(prefix="ogc-crash-") as data:
        # A killed process's rows are its own until its lease ends.
        job |= {"data": data, "settings": {"ogc_lease_s": 3}}
        with at_the_gate(contestant, job) as running:
            running.go()
            _await(lambda: len(living(job)) >= plan.crash_count / 2)
        launched = len(living(job))
        cleanup = CLEANUPS.get(contestant.name)
        if cleanup is not None:
            race(replace(contestant, file=cleanup), job, timeout_s=plan.lap_s)
            _await(lambda: all(each["state"] != "shutting-down" for each in state(job)["instances"]["aws"]))
        left = len(living(job))
    tell(f"crash  {contestant.name}: {left} left of {launched}")
    return {"machines at the kill": launched, "machines left behind": left, "own cleanup": cleanup is not None}


CLEANUPS = {OURS.name: "launch/ours_cleanup.py", "ogc 2.1.9": "launch/ogc_2_cleanup.py"}
"""What the contestant itself offers for afterwards; the others keep no record to go by."""


@contextmanager
def job_for(contestant: Contestant, count: int, plan: Plan) -> Iterator[dict[str, Any]]:
    """A cloud, a key and, for who needs one, a database; and what the contestant is told about them."""
    low, high = plan.boot
    options = (
        *("--boot", f"{low}:{high}"),
        *("--latency", f"RunInstances={plan.latency_s}"),
        *("--time-scale", str(plan.time_scale)),
        # A port of its own: another sandbox's thousands of addresses are in nobody's way.
        *("--ssh-port", str(machine.free_port())),
    )
    with TemporaryDirectory(prefix="ogc-bench-") as folder, sandbox_process(*options) as environment:
        _generate_key(Path(folder) / "key")
        job = {
            "name": "bench",
            "count": count,
            "time_scale": plan.time_scale,
            "environment": environment,
            "key": str(Path(folder) / "key"),
            "size": SIZE,
            "image": _image(environment),
        }
        if contestant.environment != "ogc":
            yield job
            return
        with postgres() as variables:
            yield job | {"postgres": variables}


def _generate_key(path: Path) -> None:
    """RSA: of a newer key libcloud computes another fingerprint than EC2 does, and imports it again and again."""
    key = asyncssh.generate_private_key("ssh-rsa", comment="bench", key_size=2048)
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    key.write_public_key(f"{path}.pub")


def state(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the pretend cloud holds and was asked."""
    return read_state(job["environment"]["AWS_ENDPOINT_URL"])


def living(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The machines that are not gone or on their way out."""
    gone = ("terminated", "shutting-down")
    return [each for each in state(job)["instances"]["aws"] if each["state"] not in gone]


def _await(is_so: Callable[[], bool]) -> None:
    """What does not come about in time shows in the figures."""
    deadline = time.monotonic() + GREETING_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)


def _image(environment: Mapping[str, str]) -> str:
    """An image's id: looking it up is not part of the race."""
    import boto3  # of the test group

    client = boto3.client(
        "ec2",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    images = client.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    return str(next(each["ImageId"] for each in images if "ubuntu" in each["Name"]))


async def _greeted(addresses: Sequence[str], port: int) -> dict[str, float]:
    """How many SSH servers greet, and how long it takes until all have."""
    begun = time.perf_counter()
    bound = asyncio.Semaphore(100)

    async def greet(address: str) -> bool:
        async with bound:
            return await _greets(address, port)

    up = sum(await asyncio.gather(*map(greet, addresses)))
    return {"up": up, "seconds": time.perf_counter() - begun}


async def _greets(address: str, port: int) -> bool:
    """A server that is still starting is asked again."""
    deadline = time.monotonic() + GREETING_S
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(address, port)
                line = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            await asyncio.sleep(0.02)
            continue
        return line.startswith(b"SSH-2.0")
    return False
