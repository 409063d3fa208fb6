"""How this process was called: what every command's common options said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXIT_WELL = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_MATCHED = 3
EXIT_INTERRUPTED = 130

FORMAT = "ogc/1"
"""The schema that `ogc spec schema output` describes."""


@dataclass(slots=True)
class Invocation:
    """Set once, when the command line has been read."""

    command: str = ""
    is_json: bool = False
    verbosity: int = 0
    log_file: Path | None = None


current = Invocation()
