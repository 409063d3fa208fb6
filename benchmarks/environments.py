"""Every contestant's own environment, made once and kept until what it should hold changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from ogc_async.sandbox.isolation import isolate

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
WANTED = Path(__file__).parent / "environments"
OURS = "ogc_async"
TIMEOUT_S = 600
AS_STARTED = dict(os.environ)
"""Packages come by the user's own proxies, indexes and caches, which nothing that is measured sees."""


class NoEnvironment(Exception):
    """A contestant's packages can not be had here."""


def isolate_benchmark() -> None:
    """Leave the user's variables and home behind: no account, proxy or setting of theirs is part of a figure."""
    home = CACHE / "home"
    home.mkdir(parents=True, exist_ok=True)
    isolate(HOME=str(home))


def python_of(name: str) -> Path:
    """The interpreter of a contestant's environment, which is made now where it is not there. Ours is this one's.

    Raises :class:`NoEnvironment`.
    """
    if name == OURS:
        return Path(sys.executable)
    wanted = WANTED / f"{name}.txt"
    folder = CACHE / name
    stamp = folder / "stamp"
    mark = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == mark):
        print(f"making the environment of {name}", file=sys.stderr, flush=True)
        uv = Path(sys.executable).with_name("uv")
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        _run(uv, "pip", "install", "--quiet", "--python", folder / "bin/python", "--requirement", wanted)
        stamp.write_text(mark)
    return folder / "bin/python"


def names() -> list[str]:
    """Every environment that there is a list of packages for."""
    return sorted(each.stem for each in WANTED.glob("*.txt"))


def _run(*words: str | Path) -> None:
    try:
        subprocess.run(words, env=AS_STARTED, check=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoEnvironment(f"its environment can not be made: {error}") from error
