"""``ogc`` and the sandbox, forked from a process that has imported them: programs of their own in all but their start.

What a command's own module imports is imported anew each time; what is there already are the libraries, the models of
AWS and of a spec, and the rooms below the command line, which take a second, and which no test of a command is about.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from select import select
from signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGKILL, SIGTERM, signal
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from ogc_async.sandbox.isolation import own_environment
from ogc_async.sandbox.process import START_TIMEOUT_S, STOP_TIMEOUT_S, SandboxFailed
from ogc_async.spec.document import Spec, SpecFile
from ogc_async.spec.layout import Layout, LayoutEntry, Ready, SshKeys, Timeouts
from tests.kept import kept, read_models
from tests.programs import DEADLINE_S, started
from tests.timing import patiently

IMPORTED = (
    "alembic.command",
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "ogc_async.actions.bring_up",
    "ogc_async.actions.copy_files",
    "ogc_async.actions.reconcile",
    "ogc_async.actions.run_commands",
    "ogc_async.actions.tear_down",
    "ogc_async.cli.main",
    "ogc_async.providers.aws.provider",
    "ogc_async.providers.google.provider",
    "ogc_async.sandbox.__main__",
    "ogc_async.sandbox.compute.front",
    "ogc_async.sandbox.ec2.front",
    "ogc_async.sandbox.service",
    "rich._emoji_codes",
    "rich.live",
    "statistics",
    "typer._adapters",
)
OGC, SANDBOX = "ogc", "sandbox"

LOOK_S = 1.0
"""Between two looks at the clock, while the server says nothing."""


class Call:
    """One call of ``ogc``; ``pid`` is its process, which leads a group of its own."""

    def __init__(self, warm: Warm, number: int, words: Sequence[str], out: Path, err: Path) -> None:
        self.pid = warm.pids[number]
        self._warm, self._number, self._words, self._out, self._err = warm, number, words, out, err

    def is_over(self, within_s: float = 0.0) -> bool:
        """Whether it has ended; where it has not, it has so many seconds for it."""
        if self._number not in self._warm.codes:
            self._warm.hear(within_s)
        return self._number in self._warm.codes

    def finish(self, timeout_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
        """Wait for its end. Past its time the test fails, with what the program said until then."""
        with suppress(AssertionError):
            for _ in patiently("its end", pause_s=0, seconds=timeout_s):
                if self.is_over(LOOK_S):
                    break
        is_late = not self.is_over()
        self.end()
        out, err = self._out.read_text(), self._err.read_text()
        assert not is_late, f"{self._words} did not end within {timeout_s} s: {out}\n{err}"
        return subprocess.CompletedProcess(["ogc", *self._words], self._warm.codes[self._number], out, err)

    def read_variables(self) -> dict[str, str]:
        """Everything that a sandbox prints until it closes its output; nothing where it takes too long."""
        watchdog = threading.Timer(START_TIMEOUT_S, _kill_group, [self.pid])
        watchdog.start()
        try:
            pairs = [line.strip().partition("=") for line in self._out.read_text().splitlines()]
        finally:
            watchdog.cancel()
        return {name: value for name, separator, value in pairs if separator}

    @property
    def complaint(self) -> str:
        return self._err.read_text().strip() or "it said nothing"

    def stop(self) -> int:
        """Ask it to end, and kill it where it does not; its exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, SIGTERM)
        with suppress(AssertionError):
            for _ in patiently("its end", pause_s=0, seconds=STOP_TIMEOUT_S):
                if self.is_over(LOOK_S):
                    break
        self.end()
        return self._warm.codes[self._number]

    def end(self) -> None:
        """Kill it where it goes on. What it has left behind is no more welcome than what a program leaves."""
        _kill_group(self.pid)
        for _ in patiently("the end of what was killed", pause_s=0):
            if self.is_over(LOOK_S):
                break


class Warm:
    """Runs ``ogc``, any number of calls at a time, and sandboxes."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self.pids: dict[int, int] = {}
        """Each call's process, by the call's number: a busy machine gives a process the number of a former one."""
        self.codes: dict[int, int] = {}
        """How each call that is over has ended."""
        self._server, self._folder = server, folder
        self._calls = 0
        self._said = ""

    def run(
        self, words: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_s: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """As ``tests.programs.run`` does: past its time the test fails, with what the program said until then."""
        with self.started(words, env=env, cwd=cwd) as call:
            return call.finish(timeout_s)

    @contextmanager
    def sandbox(self, words: Sequence[str], *, env: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """A sandbox for the block, and the variables that lead to it: as ``sandbox_process`` has it."""
        with self.started(["--print-env", "--attached", *words], env=env, cwd=Path.cwd(), program=SANDBOX) as call:
            variables = call.read_variables()
            if not variables:
                raise SandboxFailed(f"the sandbox did not start: {call.complaint}")
            try:
                yield variables
            finally:
                code = call.stop()
            if code != 0:
                raise SandboxFailed(f"the sandbox ended with exit code {code}: {call.complaint}")

    @contextmanager
    def started(self, words: Sequence[str], *, env: Mapping[str, str], cwd: Path, program: str = OGC) -> Iterator[Call]:
        """A call for the block; where it goes on then, it is killed."""
        assert self._server.stdin is not None
        number = self._calls = self._calls + 1
        out, err = (self._folder / f"{number}.{name}" for name in ("out", "err"))
        if program == SANDBOX:
            # It closes its output when all is said; a file would not show it.
            os.mkfifo(out)
        order = {
            "program": program,
            "number": number,
            "words": list(words),
            "env": dict(env),
            "cwd": str(cwd),
            "out": str(out),
            "err": str(err),
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        for _ in patiently("a process for it", pause_s=0):
            self.hear(LOOK_S)
            if number in self.pids:
                break
        call = Call(self, number, words, out, err)
        try:
            yield call
        finally:
            call.end()

    def hear(self, within_s: float) -> None:
        """Read what the server says next, within so many seconds: a call's process, and later its exit code."""
        assert self._server.stdout is not None
        if not select([self._server.stdout], [], [], within_s)[0]:
            return
        said = os.read(self._server.stdout.fileno(), 4096)
        assert said, "the process that ogc is forked from has ended"
        *lines, self._said = (self._said + said.decode()).split("\n")
        for line in lines:
            number, what, value = line.split()
            (self.pids if what == "pid" else self.codes)[int(number)] = int(value)


_open = ExitStack()


@cache
def warm() -> Warm:
    """The process to fork from, until :func:`cool`; it ends with this one, however that ends."""
    words = [sys.executable, "-m", "tests.warm"]
    root = Path(__file__).parents[1]
    folder = _open.enter_context(TemporaryDirectory(prefix="ogc-warm-"))
    env = own_environment(HOME=os.environ["HOME"])
    return Warm(
        _open.enter_context(started(words, env=env, cwd=root, stdin=subprocess.PIPE, errors=None)), Path(folder)
    )


def cool() -> None:
    """End it, where it was started."""
    _open.close()
    warm.cache_clear()


def serve() -> None:
    """Fork for each order on stdin; answer with its process's id at once, and with the exit code when it has ended.

    Between the two stands a process that waits, so that the next order need not.
    """
    for name in IMPORTED:
        import_module(name)
    import_module("ogc_async.cli.main").program()
    for model in (SshKeys, Timeouts, Ready, LayoutEntry, Layout, SpecFile, Spec):
        model.model_rebuild()
    with kept():
        asyncio.run(read_models())
        _fork_for_each()


def _fork_for_each() -> None:
    # Else the first collection of each child would copy all of it.
    gc.freeze()
    signal(SIGCHLD, SIG_IGN)
    # It has an end when this process has: no other one holds where it is written.
    lifeline, end = os.pipe()
    for line in sys.stdin:
        if os.fork() == 0:
            os.close(end)
            signal(SIGCHLD, SIG_DFL)
            _attend(json.loads(line), lifeline)


def _attend(order: Mapping[str, object], lifeline: int) -> NoReturn:
    """Have the order carried out, and tell how that ends."""
    pid = os.fork()
    if pid == 0:
        _become(order, lifeline)
    with suppress(BrokenPipeError):
        print(order["number"], "pid", pid, flush=True)
        print(order["number"], "code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    os._exit(0)


def _become(order: Mapping[str, Any], lifeline: int) -> None:
    """Be the program, in surroundings of its own."""
    os.setsid()
    is_attached = order["program"] == SANDBOX
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["env"])
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(str(path), flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    try:
        if is_attached:
            os.dup2(lifeline, 0)
            sys.exit(import_module("ogc_async.sandbox.__main__").main(order["words"]))
        import_module("ogc_async.cli").main(order["words"])
    except SystemExit as end:
        if isinstance(end.code, int):
            _end(end.code)
        raise


def _end(code: int) -> NoReturn:
    """As the interpreter does, but for taking apart what was imported: that copies it first, and takes 0.1 s."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, SIGKILL)


if __name__ == "__main__":
    serve()
