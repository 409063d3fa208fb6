"""ansible-core with pipelining: a playbook that unpacks one archive and runs the script, its results as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from package import AT_ONCE, REMOTE, archive  # beside this file

PLAYBOOK = f"""\
- hosts: all
  gather_facts: false
  tasks:
    - file: {{path: {REMOTE}, state: directory}}
    - unarchive: {{src: job.tgz, dest: {REMOTE}}}
    - command: sh {REMOTE}/run.sh
"""


def race(job: dict[str, Any], _: None) -> dict[str, str]:
    """Each host's output."""
    folder = Path(job["folder"])
    (folder / "job.tgz").write_bytes(archive(job["folder_to_push"]))
    (folder / "play.yml").write_text(PLAYBOOK)
    shared = f"ansible_user={job['username']} ansible_ssh_private_key_file={job['key']}"
    hosts = [f"{each['address']} ansible_port={each['port']} {shared}" for each in job["hosts"]]
    (folder / "hosts.ini").write_text("[all]\n" + "\n".join(hosts) + "\n")
    # OpenSSH looks for its user's settings in the account's home, whatever HOME says.
    keys = f"-F none -o UserKnownHostsFile={job['known_hosts']} -o StrictHostKeyChecking=yes"
    environment = os.environ | {
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_FORKS": str(AT_ONCE),
        "ANSIBLE_STDOUT_CALLBACK": "json_lines",
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "ansible_callbacks"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_SSH_COMMON_ARGS": keys,
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.ini", "play.yml"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line["host"]: line["stdout"] for line in lines}
