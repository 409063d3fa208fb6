"""``python -m ogc_async.sandbox`` as a program."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import programs
from tests.cloud import Cloud, bare_environment, running_sandbox
from tests.integration.sandbox.conftest import client_of

DEADLINE_S = 60


def run(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-m", "ogc_async.sandbox", *options],
        env=bare_environment(**variables),
        timeout_s=DEADLINE_S,
    )


def test_a_shell_reads_its_variables(tmp_path: Path) -> None:
    script = f"""
        "{sys.executable}" -m ogc_async.sandbox --print-env > vars & pid=$!
        until grep -q OGC_SSH_PORT vars; do sleep 0.05; done
        set -a; . ./vars; set +a
        echo "$AWS_REGION $AWS_ENDPOINT_URL $OGC_SSH_PORT"
        kill $pid; wait $pid; echo "code $?"
    """
    done = programs.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        env=bare_environment(),
        timeout_s=DEADLINE_S,
    )
    first, last = done.stdout.splitlines()
    assert first.startswith("us-east-2 http://127.0.0.1:")
    assert last == "code 0"
    assert "run on THIS machine as this user" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_nothing_stays(number: signal.Signals, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ogc_async.sandbox", "--print-env", "--boot", "0"]
    with programs.started(words, env=bare_environment(TMPDIR=str(tmp_path))) as process:
        assert process.stdout is not None
        variables = dict(line.strip().split("=", 1) for line in process.stdout)
        ec2 = client_of(Cloud(variables, variables["AWS_ENDPOINT_URL"]))
        image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]["ImageId"]
        ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=3, MaxCount=3)
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with running_sandbox() as cloud:
        done = run("--port", cloud.endpoint.rpartition(":")[2])
    assert done.returncode == 1
    assert done.stderr.startswith("ogc sandbox: ")
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "options",
    [("--boot", "5:1"), ("--latency", "RunInstances"), ("--capacity", "x"), ("--time-scale", "fast"), ("--wings",)],
)
def test_options_that_make_no_sense_are_refused(options: tuple[str, ...]) -> None:
    done = run(*options)
    assert done.returncode == 2
    assert options[0] in done.stderr


def test_two_sandboxes_do_not_meet() -> None:
    """Both hold machines at the same time, each on addresses of its own."""
    with running_sandbox("--boot", "0") as one, running_sandbox("--boot", "0") as other:
        addresses = []
        for cloud in (one, other):
            ec2 = client_of(cloud)
            image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]
            asked = {"ImageId": image["ImageId"], "InstanceType": "t3.micro", "MinCount": 5, "MaxCount": 5}
            launched = [each["InstanceId"] for each in ec2.run_instances(**asked)["Instances"]]
            ec2.get_waiter("instance_running").wait(
                InstanceIds=launched, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
            )
            addresses += [each["public_ip"] for each in cloud.instances()]
    assert len(set(addresses)) == 10


def test_an_attached_one_ends_with_whoever_started_it(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ogc_async.sandbox", "--print-env", "--attached"]
    env = bare_environment(TMPDIR=str(tmp_path))
    with programs.started(words, env=env, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert "OGC_SSH_PORT" in process.stdout.read()
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0
    assert list(tmp_path.iterdir()) == []
