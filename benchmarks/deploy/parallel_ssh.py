"""parallel-ssh: the archive by SCP, then a command; its own pool. It does not verify host keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gevent import joinall
from package import AT_ONCE, REMOTE, archive  # beside this file
from pssh.clients import ParallelSSHClient


def race(job: dict[str, Any], _: None) -> dict[str, str]:
    """Each host's output."""
    local = Path(job["folder"]) / "job.tgz"
    local.write_bytes(archive(job["folder_to_push"]))
    client = ParallelSSHClient(
        [host["address"] for host in job["hosts"]],
        user=job["username"],
        port=job["hosts"][0]["port"],
        pkey=job["key"],
        pool_size=AT_ONCE,
        allow_agent=False,
        identity_auth=False,
    )
    joinall(client.scp_send(str(local), "job.tgz"), raise_error=True)
    command = f"mkdir -p {REMOTE} && tar -xzf job.tgz -C {REMOTE} && sh {REMOTE}/run.sh"
    return {output.host: "\n".join(output.stdout) for output in client.run_command(command)}
