"""What the two kinds of shell on a node want to be told: POSIX's, and PowerShell."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from typing import Protocol


class Shell(Protocol):
    """How commands are written for one kind of node."""

    @property
    def is_windows(self) -> bool:
        """Files come by SFTP, and there is no POSIX tool."""
        ...

    def with_environment(self, command: str, env: Mapping[str, str]) -> tuple[str, list[bytes]]:
        """A command that reads its environment from its input, and that input."""
        ...

    def script(self, target: str, data: bytes, folder: str) -> str:
        """Run a pushed script from its folder."""
        ...

    def line(self, command: str) -> str:
        """Run a command as a user wrote it."""
        ...


class PosixShell:
    """sh and its relatives."""

    is_windows = False

    def with_environment(self, command: str, env: Mapping[str, str]) -> tuple[str, list[bytes]]:
        """An SSH server accepts hardly any variable by its own means, and a command line is everybody's to read."""
        return f'eval "$(cat)"; {command}', [exports(env).encode()]

    def script(self, target: str, data: bytes, folder: str) -> str:
        """By its shebang where it has one, by the shell otherwise."""
        name = shlex.quote(f"./{target}")
        return f"cd {shlex.quote(folder)} && exec {name if data.startswith(b'#!') else f'/bin/sh {name}'}"

    def line(self, command: str) -> str:
        """As it is."""
        return command


class PowerShell:
    """PowerShell, under whatever shell the server starts: the command travels encoded, so that none reads it."""

    is_windows = True

    def with_environment(self, command: str, env: Mapping[str, str]) -> tuple[str, list[bytes]]:
        """As input, one assignment a line."""
        if not env:
            return encoded(command), []
        lines = (f"${{env:{name}}} = {_quoted(value)}" for name, value in sorted(env.items()))
        return encoded(f"Invoke-Expression ([Console]::In.ReadToEnd()); {command}"), ["\n".join(lines).encode()]

    def script(self, target: str, data: bytes, folder: str) -> str:
        """``.ps1`` in this PowerShell, anything else as a program; the exit code is the script's."""
        name = _quoted(f"./{target}")
        return f"Set-Location {_quoted(folder)}; & {name}; exit $LASTEXITCODE"

    def line(self, command: str) -> str:
        """Its exit code is the last program's, or 1 where a cmdlet failed: by itself PowerShell tells only 0 or 1."""
        tail = "$ogcOk = $?; if ($LASTEXITCODE) { exit $LASTEXITCODE }; if (-not $ogcOk) { exit 1 }"
        return f"{command}; {tail}"


QUOTES = "'\u2018\u2019\u201a\u201b"
"""What PowerShell takes for a single quote."""

POSIX = PosixShell()
POWERSHELL = PowerShell()


def exports(env: Mapping[str, str]) -> str:
    """The environment as shell commands."""
    if not env:
        return ""
    return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(env.items())) + "; "


def encoded(command: str) -> str:
    """A PowerShell command that passes any shell unread: UTF-16 in base64, as ``-EncodedCommand`` takes it."""
    word = base64.b64encode(command.encode("utf-16-le")).decode()
    return f"powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand {word}"


def _quoted(value: str) -> str:
    """A PowerShell string that nothing is read into."""
    for quote in QUOTES:
        value = value.replace(quote, quote * 2)
    return f"'{value}'"
