"""An environment of its own, for what must touch nothing of the user's: tests, demonstration, benchmarks, sandbox.

A list says what passes, never what is held back: a variable that nobody thought of stays outside too. As a program,
``python -m ogc_async.sandbox.isolation [NAME=VALUE…] WORD…`` becomes the command ``WORD…`` in that environment.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

NO_HOME = os.devnull
"""Below it no file can be made, not by root either: what would write to a home fails at once."""

LOCALE = "C.UTF-8"
UMASK = 0o022
SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")

_PLAIN_FOLDER = re.compile(r"/[\w./+-]{0,39}")
"""Short, so that a Unix socket's path fits below it (107 bytes), and of characters that every shell leaves alone."""


def own_environment(**more: str) -> dict[str, str]:
    """What a program needs to run, and ``more``: no account, database, proxy, locale, terminal or home of the user's.

    Of the user's it has the absolute folders of ``PATH``, the login name, and ``TMPDIR`` if every program can use it.
    """
    name = _login_name()
    environment = {"PATH": _path(), "HOME": NO_HOME, "LANG": LOCALE, "USER": name, "LOGNAME": name}
    folder = os.environ.get("TMPDIR", "")
    if _is_usable(folder):
        environment["TMPDIR"] = folder
    return environment | more


def isolate(*, keep: Iterable[str] = (), **more: str) -> None:
    """Give this process, and what it starts from now on, an environment of its own; ``keep`` names what stays as it is.

    What an interpreter reads at its start, as ``PYTHONPATH``, is in effect already: only what is started is free of it.
    """
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    own = own_environment(**(kept | more))
    os.environ.clear()
    os.environ.update(own)
    os.umask(UMASK)
    # Both may have been read from the variables that are gone.
    tempfile.tempdir = None
    time.tzset()


def main(words: Sequence[str]) -> None:
    """Become the command that follows the ``NAME=VALUE`` words."""
    rest = list(words)
    more = {}
    while rest and re.match(r"[A-Za-z_]\w*=", rest[0]):
        name, _, value = rest.pop(0).partition("=")
        more[name] = value
    if not rest:
        sys.exit("usage: python -m ogc_async.sandbox.isolation [NAME=VALUE…] WORD…")
    isolate(**more)
    try:
        os.execvp(rest[0], rest)  # noqa: S606  # the caller's own command
    except OSError as error:
        sys.exit(f"{rest[0]}: {error.strerror}")


def _path() -> str:
    """The absolute folders of ``PATH``, then the system's: an empty or relative one means another folder to each."""
    given = (each for each in os.environ.get("PATH", "").split(os.pathsep) if each.startswith("/"))
    return os.pathsep.join(dict.fromkeys((*given, *SYSTEM_PATH)))


def _login_name() -> str:
    """The account's, also where a container runs under a number that has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "ogc"


def _is_usable(folder: str) -> bool:
    """It takes a file, and is open to other users where this is root: root's programs change to them."""
    if not _PLAIN_FOLDER.fullmatch(folder):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            path = Path(folder).resolve()
            return os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in (path, *path.parents))
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
