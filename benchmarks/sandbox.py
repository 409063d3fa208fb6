"""The sandbox as a process of its own, so that its costs are not taken for ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOP_TIMEOUT_S = 60


@contextmanager
def sandbox_process(*options: str) -> Iterator[dict[str, str]]:
    """Serve for the block; yields the variables that lead to it."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "ogc_async.sandbox", "--print-env", *options],
        stdout=subprocess.PIPE,
        env=kept,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            pairs = (line.strip().partition("=") for line in process.stdout)
            yield {name: value for name, separator, value in pairs if separator}
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
