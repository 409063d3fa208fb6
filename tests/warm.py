"""``ogc`` forked from a process that has imported it: a program of its own in all but the time that it takes to start.

What a command's own module imports is imported anew each time; what is there already are the libraries and the rooms
below the command line, which take a second, and which no test of a command is about.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from select import select
from signal import SIGKILL
from tempfile import TemporaryDirectory

from tests.cloud import bare_environment
from tests.programs import DEADLINE_S, started

IMPORTED = (
    "alembic.command",
    "ogc_async.actions.bring_up",
    "ogc_async.actions.copy_files",
    "ogc_async.actions.reconcile",
    "ogc_async.actions.run_commands",
    "ogc_async.actions.tear_down",
    "ogc_async.cli.main",
    "ogc_async.providers.aws.provider",
    "ogc_async.providers.google.provider",
    "rich.live",
)


class WarmOgc:
    """Runs ``ogc``, one call at a time."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server = server
        self._out, self._err = folder / "out", folder / "err"

    def run(
        self, words: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_s: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """As ``tests.programs.run`` does: past its time the test fails, with what the program said until then."""
        assert self._server.stdin is not None
        order = {
            "words": list(words),
            "env": dict(env),
            "cwd": str(cwd),
            "out": str(self._out),
            "err": str(self._err),
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        pid = self._answer()
        is_over = not select([self._server.stdout], [], [], timeout_s)[0]
        if is_over:
            _kill_group(pid)
        code = self._answer()
        # What it has left behind is no more welcome than what a program leaves.
        _kill_group(pid)
        out, err = self._out.read_text(), self._err.read_text()
        assert not is_over, f"{words} did not end within {timeout_s} s: {out}\n{err}"
        return subprocess.CompletedProcess(["ogc", *words], code, out, err)

    def _answer(self) -> int:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the process that ogc is forked from has ended"
        return int(line)


@contextmanager
def warm_ogc() -> Iterator[WarmOgc]:
    """The process to fork from, for the block; it ends with this one, however that ends."""
    words = [sys.executable, "-m", "tests.warm"]
    root = Path(__file__).parents[1]
    with (
        TemporaryDirectory(prefix="ogc-warm-") as folder,
        started(words, env=bare_environment(), cwd=root, stdin=subprocess.PIPE, errors=None) as server,
    ):
        yield WarmOgc(server, Path(folder))


def serve() -> None:
    """Fork for each order on stdin; answer with the process id at once, and with the exit code when it has ended."""
    for name in IMPORTED:
        import_module(name)
    # Else the first collection of each child would copy all of it.
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(order: Mapping[str, object]) -> None:
    """Be ``ogc``, in surroundings of its own; its end is the interpreter's."""
    os.setsid()
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
    import_module("ogc_async.cli").main(order["words"])


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, SIGKILL)


if __name__ == "__main__":
    serve()
