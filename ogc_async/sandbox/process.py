"""The sandbox as a process of its own, for programs that want it beside them and its costs apart from theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from signal import SIGKILL
from tempfile import TemporaryFile
from typing import IO, Any

from ogc_async.sandbox.isolation import own_environment
from ogc_async.sandbox.settings import TOKEN_HEADER

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 120.0


class SandboxFailed(Exception):
    """The sandbox process did not start, or did not end in order; the message holds what it said."""


@contextmanager
def sandbox_process(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Serve for the block; yields the variables that lead to it, as ``--print-env`` prints them.

    ``environment`` is the process's; if not given, one that has nothing of the user's. Raises :class:`SandboxFailed`
    where it does not serve within 60 seconds, or has not ended 30 seconds after it was asked to.
    """
    with TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-m", "ogc_async.sandbox", "--print-env", "--attached", *options],
            # It ends with this process, however that ends: nobody else holds the other end of its input.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=own_environment() if environment is None else dict(environment),
            # A group of its own: Ctrl-C is for whoever uses the sandbox, who then ends it.
            start_new_session=True,
            text=True,
        )
        try:
            variables = _read_variables(process)
            if not variables:
                raise SandboxFailed(f"the sandbox did not start: {_said(errors)}")
            yield variables
        finally:
            code = stop(process)
        if code != 0:
            raise SandboxFailed(f"the sandbox ended with exit code {code}: {_said(errors)}")


def read_state(endpoint: str) -> dict[str, Any]:
    """What the sandbox at that address holds and was asked: its admin page, which any program here may read."""
    state: dict[str, Any] = _ask_admin(f"{endpoint}/_sandbox/state")
    return state


def plan_faults(endpoint: str, token: str, *faults: str) -> int:
    """Plan faults there, ``OPERATION=FAULT`` each, while it runs; how many. Raises ``urllib.error.HTTPError``."""
    planned: int = _ask_admin(f"{endpoint}/_sandbox/faults", token, json.dumps(faults).encode())["planned"]
    return planned


def _ask_admin(url: str, token: str = "", body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {TOKEN_HEADER: token})  # noqa: S310  # our own
    # It is on this machine: no proxy, whatever variables name one, knows the way to it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=READ_TIMEOUT_S) as reply:
        return json.load(reply)


def stop(process: subprocess.Popen[str], timeout_s: float = STOP_TIMEOUT_S) -> int:
    """Ask the process to end, and end it and all its children where it has not within ``timeout_s``; its exit code."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    return process.wait()


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session of its own, and its children: they would hold its pipes open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, SIGKILL)


def _read_variables(process: subprocess.Popen[str]) -> dict[str, str]:
    """Everything that the process prints until it closes its output; nothing where it takes too long."""
    watchdog = threading.Timer(START_TIMEOUT_S, kill_group, [process])
    watchdog.start()
    try:
        pairs: Sequence[tuple[str, str, str]] = [line.strip().partition("=") for line in process.stdout or ()]
    finally:
        watchdog.cancel()
    return {name: value for name, separator, value in pairs if separator}


def _said(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace").strip() or "it said nothing"
