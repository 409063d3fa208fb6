"""The demonstration: the program itself, command by command, against a sandbox of its own in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from ogc_async.errors import OgcError
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
OURS = ("AWS_", "GOOGLE_", "POSTGRES_", "OGC_")


def run() -> int:
    """Run every command in turn; returns the first exit code that is not 0."""
    with TemporaryDirectory(prefix="ogc-demo-") as folder, _sandbox() as variables:
        environment = _clean_environment() | variables | {"OGC_DATA_DIR": folder}
        for words in COMMANDS:
            _say(f"\n$ ogc {' '.join(_quoted(word) for word in words)}")
            code = subprocess.run(_ogc(*words), cwd=folder, env=environment, check=False).returncode  # noqa: S603
            if code:
                return code
        return _tell_what_is_left(variables["AWS_ENDPOINT_URL"], variables["SANDBOX_TOKEN"])


def _tell_what_is_left(endpoint: str, token: str) -> int:
    """Ask the sandbox, not the database; returns 1 where it still holds something."""
    state = read_state(endpoint, token)
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
        with sandbox_process(environment=_clean_environment()) as variables:
            for name, value in variables.items():
                _say(f"{name}={value}")
            yield variables
    except SandboxFailed as error:
        raise OgcError(str(error)) from error


def _clean_environment() -> dict[str, str]:
    """This environment without any account or database of its owner's: a demonstration touches neither."""
    inherited: Mapping[str, str] = os.environ
    return {name: value for name, value in inherited.items() if not name.startswith(OURS)}


def _ogc(*words: str) -> list[str]:
    return [sys.executable, "-m", "ogc_async", *words]


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the program's own voice
