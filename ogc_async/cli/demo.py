"""The demonstration: the program itself, command by command, against a sandbox of its own in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from ogc_async.errors import OgcError
from ogc_async.sandbox.isolation import isolate
from ogc_async.sandbox.process import SandboxFailed, read_state, sandbox_process

COMMANDS = (
    ("init", "--name", "Demo"),
    ("launch",),
    ("ls",),
    ("exec", "echo $USER at $OGC_PUBLIC_IP", "--all"),
    ("exec", "uname -s", "--all"),
    ("rm-all", "--yes"),
    ("ls",),
)
LOOKS = ("NO_COLOR", "TERM")
"""How a terminal is to be written to: its owner's wish for plain text, and what it can not do."""


def run() -> int:
    """Run every command in turn; returns the first exit code that is not 0."""
    # No account, database, proxy or file of the user's: a demonstration touches none of them.
    isolate(keep=_looks())
    with TemporaryDirectory(prefix="ogc-demo-") as folder, _sandbox() as variables:
        environment = os.environ | variables | {"OGC_DATA_DIR": folder, "HOME": folder}
        for words in COMMANDS:
            _say(f"\n$ ogc {' '.join(_quoted(word) for word in words)}")
            code = subprocess.run(_ogc(*words), cwd=folder, env=environment, check=False).returncode  # noqa: S603
            if code:
                return code
        return _tell_what_is_left(variables["AWS_ENDPOINT_URL"])


def _tell_what_is_left(endpoint: str) -> int:
    """Ask the sandbox, not the database; returns 1 where it still holds something."""
    state = read_state(endpoint)
    states = Counter(each["state"].lower() for machines in state["instances"].values() for each in machines)
    left = {
        "machines": states.total() - states["terminated"],
        "key pairs": len(state["key_pairs"]),
        "firewalls": len(state["firewalls"]),
        "home folders": state["homes"],
    }
    _say(f"\nThe sandbox: {states['terminated']} machines terminated; left of {', '.join(left)}: {sum(left.values())}")
    return 1 if any(left.values()) else 0


@contextmanager
def _sandbox() -> Iterator[dict[str, str]]:
    """A sandbox process for the block; yields the variables that lead to it."""
    _say("$ ogc sandbox --print-env")
    try:
        with sandbox_process() as variables:
            for name, value in variables.items():
                _say(f"{name}={value}")
            yield variables
    except SandboxFailed as error:
        raise OgcError(str(error)) from error


def _looks() -> list[str]:
    """What of the terminal's variables counts: nothing in a file, and on a terminal only what makes it plainer."""
    is_plainer = {"NO_COLOR": True, "TERM": os.environ.get("TERM") == "dumb"}
    return [name for name in LOOKS if sys.stdout.isatty() and is_plainer[name]]


def _ogc(*words: str) -> list[str]:
    return [sys.executable, "-m", "ogc_async", *words]


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the program's own voice
