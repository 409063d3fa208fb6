"""pyinfra through its API: the folder as one archive, or file by file with ``files.sync``; then a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from package import AT_ONCE, REMOTE, archive  # beside this file
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state
from pyinfra.operations import files, server


def race(job: dict[str, Any], _: None) -> dict[str, str]:
    """Each host's output."""
    how = {
        "ssh_user": job["username"],
        "ssh_key": job["key"],
        "ssh_port": job["hosts"][0]["port"],
        "ssh_known_hosts_file": job["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
    }
    inventory = Inventory(([host["address"] for host in job["hosts"]], how))
    state = State(inventory, Config(PARALLEL=AT_ONCE), check_for_changes=False)
    with ctx_state.use(state):
        state.set_stage(StateStage.Connect)
        connect_all(state)
        state.set_stage(StateStage.Prepare)
        last = _describe(state, job)
        state.set_stage(StateStage.Execute)
        run_ops(state)
    return {host.name: str(last[host].stdout) for host in inventory}


def _describe(state: State, job: dict[str, Any]) -> Any:
    if job["way"] == "sync":
        add_op(state, files.sync, src=job["folder_to_push"], dest=REMOTE, add_deploy_dir=False)
        return add_op(state, server.shell, commands=[f"sh {REMOTE}/run.sh"])
    local = Path(job["folder"]) / "job.tgz"
    local.write_bytes(archive(job["folder_to_push"]))
    add_op(state, files.put, src=str(local), dest="job.tgz", add_deploy_dir=False)
    command = f"mkdir -p {REMOTE} && tar -xzf job.tgz -C {REMOTE} && sh {REMOTE}/run.sh"
    return add_op(state, server.shell, commands=[command])
