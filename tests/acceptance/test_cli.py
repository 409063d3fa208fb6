"""``ogc`` as a program: exit codes, what is printed, what is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cloud import Cloud

Ogc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ogc(cloud: Cloud, database_environment: dict[str, str], tmp_path: Path) -> Ogc:
    """Runs ``ogc`` in a folder and a database of the test's own."""
    folder = tmp_path / "work"
    folder.mkdir()

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ogc_async", *words],
            cwd=folder,
            env=cloud.environment | database_environment | {"COLUMNS": "200"} | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_a_newcomers_way_from_init_to_nothing_left(ogc: Ogc, cloud: Cloud) -> None:
    first = ok(ogc("init", "--name", "Ada"))
    assert "user Ada (ada): created" in first
    assert "ogc.yml: written" in first
    again = ok(ogc("init", "--name", "Someone"))
    assert "user Ada (ada): exists, nothing to do" in again
    assert "written" not in again

    launched = ok(ogc("launch"))
    assert "launched 7 of 7 nodes" in launched
    assert "deployed 7 of 7 nodes" in launched

    listed = ok(ogc("ls"))
    names = [word for word in listed.split() if word.startswith("ogc-")]
    assert len(names) == 7
    assert listed.count("running") == 7
    ids = {word for word in listed.split() if word.startswith("i-")}
    assert ids <= {each["id"] for each in cloud.instances() if each["state"] == "running"}

    said = ok(ogc("exec", "cat page.html", "--layout", "web"))
    web = [name for name in names if name.startswith("ogc-web-")]
    assert all(f"<h1>{name}</h1>" in said for name in web)

    assert "tore down 1 of 1 nodes" in ok(ogc("rm", web[0], "--yes"))
    assert "tore down 6 of 6 nodes" in ok(ogc("rm-all", "--yes"))
    assert "no nodes on record" in ok(ogc("ls"))
    assert ok(ogc("ls", "--all")).count("terminated") == 7
    assert ids.isdisjoint({each["id"] for each in cloud.instances() if each["state"] != "terminated"})


def test_sync_brings_each_layout_to_its_scale_and_plan_says_how(ogc: Ogc) -> None:
    ok(ogc("init"))
    assert ok(ogc("plan")).count("launch: a node of ") == 7
    synced = ok(ogc("sync"))
    assert synced.count("launch: a node of ") == 7
    assert "deployed 7 of 7 nodes" in synced
    assert ok(ogc("plan")) == "cloud, database and spec agree, nothing to do\n"
    ok(ogc("rm-all", "--yes", "--force"))


def test_no_deploy_launches_only(ogc: Ogc) -> None:
    ok(ogc("init"))
    launched = ok(ogc("launch", "web", "--no-deploy"))
    assert "launched 4 of 4 nodes" in launched
    assert "deployed" not in launched
    assert "deployed 4 of 4 nodes" in ok(ogc("deploy", "--layout", "web"))
    ok(ogc("rm-all", "--yes"))


def test_a_failing_command_fails_the_program_and_shows_where(ogc: Ogc) -> None:
    ok(ogc("init"))
    ok(ogc("launch", "worker", "--no-deploy"))
    done = ogc("exec", "echo trouble; exit 4", "--all")
    assert done.returncode == 1
    assert done.stdout.count("trouble") == 3
    assert done.stdout.count("(4)") == 3
    ok(ogc("rm-all", "--yes", "--force"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("rm",), 2, "which nodes?"),
        (("exec", "true"), 2, "which nodes?"),
        (("rm", "ogc-nobody-1"), 3, "no such node: ogc-nobody-1"),
        (("launch", "--spec", "none.yml"), 2, "none.yml"),
        (("launch", "nolayout"), 2, "nolayout"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_what_can_not_be_done_is_one_clear_message_and_its_exit_code(
    ogc: Ogc, words: tuple[str, ...], code: int, says: str
) -> None:
    ok(ogc("init"))
    done = ogc(*words)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_database_the_message_says_what_to_do(ogc: Ogc) -> None:
    done = ogc("ls", OGC_DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "hidden" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_removing_asks_first_and_no_means_nothing_is_removed(ogc: Ogc) -> None:
    ok(ogc("init"))
    ok(ogc("launch", "worker", "--no-deploy"))
    done = ogc("rm-all")
    assert done.returncode == 1
    assert ok(ogc("ls")).count("running") == 3
    ok(ogc("rm-all", "--yes", "--force"))
