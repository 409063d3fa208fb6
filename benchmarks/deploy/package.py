"""What every contestant pushes, and the words that it has to bring home; nothing but the standard library."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

REMOTE = "job"
UNPACK = f"mkdir -p {REMOTE} && tar -xzf - -C {REMOTE} && sh {REMOTE}/run.sh"
"""For who sends the archive down the command's standard input."""

AT_ONCE = 50
"""Hosts worked on at once, for who asks for such a bound."""


def archive(folder: str) -> bytes:
    """The folder as one compressed archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as file:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                file.add(path, path.relative_to(folder))
    return packed.getvalue()
