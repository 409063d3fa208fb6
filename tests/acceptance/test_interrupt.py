"""Ctrl-C during a launch: one message, and no machine is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.cloud import Cloud, running_sandbox
from tests.timing import HANGS_AFTER_S, patiently

ENDED = ("terminated", "shutting-down", "TERMINATED", "STOPPING")


def living(cloud: Cloud) -> list[str]:
    machines = cloud.state()["instances"].values()
    return [each["id"] for part in machines for each in part if each["state"] not in ENDED]


def test_an_interrupted_launch_takes_its_machines_back(tmp_path: Path, database_environment: dict[str, str]) -> None:
    with running_sandbox("--boot", "300") as cloud:
        environment = cloud.environment | database_environment | {"HOME": str(tmp_path), "OGC_POLL_S": "0.1"}
        environment["OGC_CANCEL_S"] = str(HANGS_AFTER_S)

        def ogc(*words: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-m", "ogc_async", *words],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

        with ogc("init") as init:
            init.communicate(timeout=HANGS_AFTER_S)
            assert init.returncode == 0
        with ogc("launch", "--no-deploy") as launch:
            for _ in patiently("all seven machines", pause_s=0.05):
                if len(living(cloud)) == 7:
                    break
                assert launch.poll() is None
            launch.send_signal(signal.SIGINT)
            _, said = launch.communicate(timeout=HANGS_AFTER_S)
        assert launch.returncode == 130, said
        assert "ogc: interrupted" in said
        assert "Traceback" not in said
        assert living(cloud) == []
        with ogc("ls") as listed:
            assert listed.communicate(timeout=HANGS_AFTER_S)[0] == "no nodes on record\n"
