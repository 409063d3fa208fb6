"""Programs that tests start: each in a session of its own, and ended with all its children when its time is up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike

from ogc_async.sandbox.process import kill_group

DEADLINE_S = 120.0

Words = Sequence[str | PathLike[str]]
Folder = str | PathLike[str] | None


def run(
    words: Words, *, env: Mapping[str, str] | None = None, cwd: Folder = None, timeout_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Past its time the test fails, with what the program said until then."""
    with started(words, env=env, cwd=cwd) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            out, err = process.communicate()
            raise AssertionError(f"{words} did not end within {timeout_s} s: {out}\n{err}") from None
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@contextmanager
def started(
    words: Words,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Folder = None,
    stdin: int = subprocess.DEVNULL,
    output: int = subprocess.PIPE,
    errors: int | None = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """A program for the block; what is left of it then is killed. A pipe that nobody reads stops it when it is full."""
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        text=True,
    )
    try:
        yield process
    finally:
        kill_group(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait(DEADLINE_S)
