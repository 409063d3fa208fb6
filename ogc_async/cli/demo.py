"""The demonstration: the program itself, command by command, against a sandbox of its own in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ogc_async.errors import OgcError

COMMANDS = (
    ("init", "--name", "Demo"),
    ("launch",),
    ("ls",),
    ("exec", "echo $USER at $OGC_PUBLIC_IP", "--all"),
    ("rm-all", "--yes"),
    ("ls",),
)
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
OURS = ("AWS_", "GOOGLE_", "POSTGRES_", "OGC_")


def run() -> int:
    """Run every command in turn; returns the first exit code that is not 0."""
    with TemporaryDirectory(prefix="ogc-demo-") as folder, _sandbox(Path(folder)) as variables:
        environment = _clean_environment() | variables | {"OGC_DATA_DIR": folder}
        for words in COMMANDS:
            _say(f"\n$ ogc {' '.join(_quoted(word) for word in words)}")
            code = subprocess.run(_ogc(*words), cwd=folder, env=environment, check=False).returncode  # noqa: S603
            if code:
                return code
        return _tell_what_is_left(variables["AWS_ENDPOINT_URL"])


def _tell_what_is_left(endpoint: str) -> int:
    """Ask the sandbox, not the database; returns 1 where it still holds something."""
    with urllib.request.urlopen(f"{endpoint}/_sandbox/state", timeout=START_TIMEOUT_S) as reply:  # noqa: S310  # our own
        state = json.load(reply)
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
def _sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """A sandbox process for the block; yields the variables that lead to it."""
    _say("$ ogc sandbox --print-env")
    log = folder / "sandbox.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603  # our own program
            _ogc("sandbox", "--print-env"),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_clean_environment(),
            text=True,
        ) as process,
    ):
        try:
            yield _read_variables(process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _read_variables(process: subprocess.Popen[str], log: Path) -> dict[str, str]:
    variables: dict[str, str] = {}
    for text in process.stdout or ():
        name, separator, value = text.strip().partition("=")
        if separator:
            variables[name] = value
            _say(f"{name}={value}")
    if not variables:
        raise OgcError(f"the sandbox did not start: {log.read_text(errors='replace').strip()}")
    return variables


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
