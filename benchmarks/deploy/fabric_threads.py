"""Fabric with a thread pool: a connection a host, the archive by ``put``, then a command."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fabric import Connection
from package import AT_ONCE, REMOTE, archive  # beside this file


def race(job: dict[str, Any], _: None) -> dict[str, str]:
    """Each host's output."""
    local = Path(job["folder"]) / "job.tgz"
    local.write_bytes(archive(job["folder_to_push"]))

    def deploy(host: dict[str, Any]) -> tuple[str, str]:
        how = {"key_filename": job["key"], "allow_agent": False, "look_for_keys": False}
        with Connection(host["address"], job["username"], host["port"], connect_kwargs=how) as there:
            there.put(str(local), "job.tgz")
            command = f"mkdir -p {REMOTE} && tar -xzf job.tgz -C {REMOTE} && sh {REMOTE}/run.sh"
            done = there.run(command, hide=True, in_stream=False)
            return host["address"], str(done.stdout)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(pool.map(deploy, job["hosts"]))
