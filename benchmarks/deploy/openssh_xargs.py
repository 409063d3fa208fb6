"""``ssh`` under ``xargs -P``: a process a host, the archive on its standard input, host keys from a file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from package import AT_ONCE, UNPACK, archive  # beside this file


def race(job: dict[str, Any], _: None) -> dict[str, str]:
    """Each host's output."""
    folder = Path(job["folder"])
    (folder / "job.tgz").write_bytes(archive(job["folder_to_push"]))
    (folder / "out").mkdir()
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"]
    options += ["-o", f"UserKnownHostsFile={job['known_hosts']}", "-o", "IdentitiesOnly=yes", "-i", job["key"]]
    options += [word for option in job.get("ssh_options", ()) for word in ("-o", option)]
    words = " ".join(f"'{each}'" for each in options)
    port = job["hosts"][0]["port"]
    one = f'ssh {words} -p {port} {job["username"]}@"$1" "{UNPACK}" < job.tgz > "out/$1"'
    addresses = "\n".join(host["address"] for host in job["hosts"])
    subprocess.run(
        ["xargs", "-P", str(AT_ONCE), "-n", "1", "sh", "-c", one, "sh"],
        input=addresses,
        cwd=folder,
        text=True,
        check=True,
    )
    return {path.name: path.read_text() for path in (folder / "out").iterdir()}
