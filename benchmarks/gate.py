"""The starting gate: loads one contestant in its own environment, waits for the signal, and measures what it does.

    python -P gate.py CONTESTANT.py JOB.json

A contestant is a file with ``race(job, prepared)`` and, where something may be made beforehand, ``prepare(job)``. It
says READY on its standard output, starts when it reads a line, and prints one JSON object when it is done. Nothing but
the standard library is used: this runs in every contestant's environment.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

READY = "READY"
SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of ``prctl``: children whose parents ended are counted here, not lost."""


def main(contestant: str, job_file: str) -> None:
    """Prepare, wait, race, report."""
    job = json.loads(Path(job_file).read_text())
    # Whatever a contestant prints is not the report.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    _scale_sleep(job.get("time_scale", 1.0))
    module = _load(contestant)
    prepared = module.prepare(job) if hasattr(module, "prepare") else None
    versions = {name: version(name) for name in job.get("packages", ())}
    _say(report, READY)
    sys.stdin.readline()
    wall, cpu = time.perf_counter(), _cpu_s()
    answer = module.race(job, prepared)
    seconds, cpu_s = time.perf_counter() - wall, _cpu_s() - cpu
    _say(report, json.dumps({"seconds": seconds, "cpu_s": cpu_s, "answer": answer, "versions": versions}))
    os._exit(0)  # threads of a library that outlive their work do not hold up the race


def _scale_sleep(scale: float) -> None:
    """A contestant's pauses pass as fast as the pretend cloud's time does."""
    real = time.sleep
    if scale != 1.0:
        time.sleep = lambda seconds: real(seconds / scale)


def _load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("contestant", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["contestant"] = module
    # Last, so that it hides nothing: contestants may share code.
    sys.path.append(str(Path(path).parent))
    spec.loader.exec_module(module)
    return module


def _cpu_s() -> float:
    """This process's, its ended children's, and that of what still runs below it."""
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in own) + sum(map(_ticks, _descendants(os.getpid())))


def _descendants(pid: int) -> Iterator[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text().split()
        except OSError:  # a thread that has ended meanwhile
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _ticks(pid: int) -> float:
    """CPU seconds of a process and of its ended children."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _say(report: Any, line: str) -> None:
    report.write(line + "\n")
    report.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
