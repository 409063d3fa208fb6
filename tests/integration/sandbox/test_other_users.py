"""Another user of this computer tries to use the sandbox: its APIs, its admin pages, its machines, its files."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode, urlsplit

import asyncssh
import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.cloud import Cloud, running_sandbox
from tests.machine import DEADLINE_S, launch
from tests.not_tried import not_tried
from tests.timing import patiently

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SANDBOX_TOKEN", "SANDBOX_GOOGLE_REFRESH_TOKEN")
FORMER = ("SANDBOXACCESSKEY01", "sandbox-secret-key")
"""The credentials of every sandbox, once."""
TALK = "exec 3<>/dev/tcp/127.0.0.1/$0 && cat >&3 && cat <&3"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """A sandbox with one machine, of this user."""
    if os.getuid() != 0:
        not_tried("the sandbox as another user of this computer", "only root may become another user")
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir="/tmp"))
        # As open as /tmp is: what keeps others out is to be the sandbox's own.
        Path(folder).chmod(0o755)
        cloud = stack.enter_context(running_sandbox("--boot", "0", environment={"TMPDIR": folder}))
        launch(cloud, asyncssh.generate_private_key("ssh-ed25519"), {})
        for _ in patiently("a machine that takes logins", pause_s=0.05):
            if cloud.instances()[0]["is_ssh_open"]:
                break
        yield cloud


def as_nobody(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    nobody = pwd.getpwnam("nobody")
    return subprocess.run(
        words,
        input=text,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_S,
        check=False,
    )


def send(cloud: Cloud, method: str, path: str, body: str = "", **headers: str) -> str:
    """What the sandbox answers to nobody: its first line."""
    address = urlsplit(cloud.endpoint)
    given = {"Host": address.netloc, "Connection": "close", "Content-Length": str(len(body)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", body]
    done = as_nobody("bash", "-c", TALK, str(address.port), text="\r\n".join(lines))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.parametrize("action", ["DescribeInstances", "RunInstances", "ImportKeyPair"])
def test_the_credentials_that_once_were_constants_open_nothing(cloud: Cloud, action: str) -> None:
    body = urlencode({"Action": action, "Version": "2016-11-15"})
    request = AWSRequest("POST", f"{cloud.endpoint}/", data=body)
    SigV4Auth(Credentials(*FORMER), "ec2", "us-east-2").add_auth(request)
    assert send(cloud, "POST", "/", body, **dict(request.headers.items())) == "HTTP/1.1 401 Unauthorized"


def test_google_hands_out_no_token_for_the_former_constant(cloud: Cloud) -> None:
    body = urlencode({"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-token"})
    assert send(cloud, "POST", "/token", body) == "HTTP/1.1 400 Bad Request"
    path = f"/compute/v1/projects/{cloud.environment['GOOGLE_PROJECT']}/zones"
    assert send(cloud, "GET", path, Authorization="Bearer guess") == "HTTP/1.1 401 Unauthorized"


def test_no_faults_are_planned(cloud: Cloud) -> None:
    assert send(cloud, "POST", "/_sandbox/faults", "[]") == "HTTP/1.1 401 Unauthorized"


def test_no_process_tells_a_secret(cloud: Cloud) -> None:
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert len(mine) > 1
    for process in mine:
        assert as_nobody("cat", f"/proc/{process.pid}/environ").returncode != 0
    seen = as_nobody("sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
    assert "ogc_async.sandbox" in seen
    assert not [name for name in SECRETS if cloud.environment[name] in seen]


def test_no_file_of_it_is_read(cloud: Cloud) -> None:
    account = Path(cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"])
    assert account.is_file()
    assert as_nobody("cat", str(account)).returncode != 0
    folders = list(account.parent.parent.iterdir())
    assert account.parent in folders
    assert len(folders) == 2
    for folder in folders:
        assert as_nobody("ls", str(folder)).returncode != 0
        assert folder.stat().st_mode & 0o077 == 0
    homes = [each for folder in folders for each in folder.glob("127.*")]
    assert homes
    assert all(each.stat().st_mode & 0o077 == 0 for each in homes)


@pytest.mark.parametrize("user", ["ubuntu", "root", "nobody", "../../etc"])
def test_a_machine_lets_in_no_key_but_its_own_and_no_password(cloud: Cloud, user: str) -> None:
    address, port = cloud.instances()[0]["public_ip"], cloud.environment["OGC_SSH_PORT"]
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "NumberOfPasswordPrompts=1")
    script = (
        'set -e; folder=$(mktemp -d); trap \'rm -r "$folder"\' EXIT; ssh-keygen -q -N "" -t ed25519 -f "$folder/key"; '
        'printf "#!/bin/sh\\necho guess\\n" > "$folder/ask"; chmod 700 "$folder/ask"; '
        'export SSH_ASKPASS="$folder/ask" SSH_ASKPASS_REQUIRE=force; ssh -i "$folder/key" "$@"'
    )
    words = [word for each in options for word in ("-o", each)]
    done = as_nobody("sh", "-c", script, "sh", "-F", "none", *words, "-p", port, "-l", user, address, "id")
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr
    assert done.stdout == ""


def test_a_machine_forwards_no_port_before_its_login(cloud: Cloud) -> None:
    address, port = cloud.instances()[0]["public_ip"], cloud.environment["OGC_SSH_PORT"]
    options = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    target = urlsplit(cloud.endpoint).netloc
    done = as_nobody(
        "ssh", "-F", "none", *options, "-p", port, "-W", target, f"ubuntu@{address}", text="GET / HTTP/1.0"
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr
