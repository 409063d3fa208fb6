"""Runs one contestant in a process of its own and collects what it did, what it cost, and how it ended."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import psutil

from benchmarks import environments
from ogc_async.sandbox.isolation import own_environment
from ogc_async.sandbox.process import kill_group

HERE = Path(__file__).parent
SAMPLE_S = 0.5
PREPARE_S = 120.0


class ContestantFailed(Exception):
    """A contestant broke off; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who takes part: its name in the tables, the file that races, its environment and the packages that it stands for.

    ``most`` is the largest fleet that it is tried on, because it takes too long with a larger one; ``remark`` says in
    the tables what a reader has to know.
    """

    name: str
    file: str
    environment: str
    packages: tuple[str, ...]
    most: int = 1_000_000
    remark: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lap:
    """One race of one contestant: seconds from the signal to its answer, and what it used between the two."""

    seconds: float
    cpu_s: float
    peak_mb: float
    answer: Any
    versions: dict[str, str]


@dataclass(slots=True)
class Running:
    """A contestant at the gate or on its way."""

    process: subprocess.Popen[str]
    errors: IO[bytes]
    peak_mb: float = 0.0

    def go(self) -> None:
        """Give the signal."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self, timeout_s: float) -> Lap:
        """Wait for the report. Raises :class:`ContestantFailed`."""
        deadline = time.monotonic() + timeout_s
        with _ended_after(self.process, timeout_s), _sampled(self):
            report = _read(self.process, lambda line: line.startswith("{"))
        if not report:
            what = f"no report within {timeout_s:.0f} s" if time.monotonic() >= deadline else "it broke off"
            raise ContestantFailed(f"{what}: {self.said()}")
        values = json.loads(report)
        return Lap(values["seconds"], values["cpu_s"], self.peak_mb, values["answer"], values["versions"])

    def said(self) -> str:
        """The end of its error output."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()[-2000:] or "it said nothing"


def race(contestant: Contestant, job: Mapping[str, Any], *, timeout_s: float) -> Lap:
    """One lap. Raises :class:`ContestantFailed` where the contestant gives no answer in time."""
    with at_the_gate(contestant, job) as running:
        running.go()
        return running.finish(timeout_s)


@contextmanager
def at_the_gate(contestant: Contestant, job: Mapping[str, Any]) -> Iterator[Running]:
    """A contestant that is prepared and waits for its signal; killed with all its children at the end."""
    try:
        python = environments.python_of(contestant.environment)
    except environments.NoEnvironment as error:
        raise ContestantFailed(str(error)) from error
    with TemporaryDirectory(prefix="ogc-race-") as folder, TemporaryFile() as errors:
        whole = {**job, **contestant.options, "packages": contestant.packages, "folder": folder}
        (Path(folder) / "job.json").write_text(json.dumps(whole))
        process = subprocess.Popen(
            [python, "-P", HERE / "gate.py", HERE / contestant.file, Path(folder) / "job.json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=own_environment(HOME=folder),
            start_new_session=True,
            text=True,
        )
        running = Running(process, errors)
        try:
            with _ended_after(process, PREPARE_S):
                if not _read(process, lambda line: line.strip() == "READY"):
                    raise ContestantFailed(f"{contestant.name} did not get ready: {running.said()}")
            yield running
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    children = _children(process.pid)
    kill_group(process)
    for each in children:
        # Some leave their group, as an SSH client's shared connection does.
        if each.is_running():
            each.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.wait(PREPARE_S)


def _read(process: subprocess.Popen[str], is_it: Callable[[str], bool]) -> str:
    return next((line for line in process.stdout or () if is_it(line)), "")


@contextmanager
def _ended_after(process: subprocess.Popen[str], timeout_s: float) -> Iterator[None]:
    watchdog = threading.Timer(timeout_s, kill_group, [process])
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


@contextmanager
def _sampled(running: Running) -> Iterator[None]:
    """Note the most memory that the contestant's processes hold together, each shared page counted once."""
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            running.peak_mb = max(running.peak_mb, _memory_mb(running.process.pid))

    running.peak_mb = _memory_mb(running.process.pid)
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _memory_mb(pid: int) -> float:
    total = 0
    for each in (pid, *(child.pid for child in _children(pid))):
        try:
            total += psutil.Process(each).memory_full_info().pss
        except psutil.Error:
            continue
    return round(total / 1e6, 1)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def tell(text: str) -> None:
    """Say how far it is, to whoever waits."""
    print(text, file=sys.stderr, flush=True)
