"""moto's EC2 in a process of its own: a judge of our calls that was not written by us."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from tests import programs
from tests.timing import patiently


@contextmanager
def running_moto() -> Iterator[str]:
    """Start the server, yield its URL, and stop it by its handle."""
    strict = dict.fromkeys(
        (
            "MOTO_ENABLE_AMI_VALIDATION",
            "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION",
            "MOTO_ENABLE_KEYPAIR_VALIDATION",
        ),
        "true",
    )
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    environment = {"PATH": os.environ.get("PATH", ""), **strict}
    with (
        TemporaryFile() as said,
        programs.started(words, env=environment, output=subprocess.DEVNULL, errors=said.fileno()) as process,
    ):
        url = _wait_until_up(said, process)
        yield url


def reset(url: str) -> None:
    """Forget every resource."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30).close()


def _wait_until_up(said: IO[bytes], process: subprocess.Popen[str]) -> str:
    """Where it listens, once it says so: a port that it has chosen itself is nobody else's."""
    found = None
    for _ in patiently("moto's word that it runs", pause_s=0.05):
        said.seek(0)
        text = said.read().decode(errors="replace")
        if found := re.search(r"Running on (http://127\.0\.0\.1:[1-9]\d*)", text):
            break
        assert process.poll() is None, f"moto ended at its start: {text}"
    assert found is not None
    return found[1]
