"""moto's EC2 in a process of its own: a judge of our calls that was not written by us."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests import programs

START_TIMEOUT_S = 60.0


@contextmanager
def running_moto() -> Iterator[str]:
    """Start the server, yield its URL, and stop it by its handle."""
    port = _free_port()
    strict = dict.fromkeys(
        (
            "MOTO_ENABLE_AMI_VALIDATION",
            "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION",
            "MOTO_ENABLE_KEYPAIR_VALIDATION",
        ),
        "true",
    )
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {"PATH": os.environ.get("PATH", ""), **strict}
    with programs.started(words, env=environment, output=subprocess.DEVNULL, errors=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(f"{url}/moto-api/data.json", process)
        yield url


def reset(url: str) -> None:
    """Forget every resource."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30).close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_up(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, "moto ended at its start"
            assert time.monotonic() < deadline, "moto did not start"
            time.sleep(0.05)
