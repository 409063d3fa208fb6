"""``ogc`` as a program: exit codes, what is printed, what is left."""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree

import pytest

from tests.acceptance.conftest import Ogc
from tests.cloud import Cloud
from tests.postgres import KINDS


def ok(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


ON_BOTH = pytest.mark.parametrize("kind", KINDS, indirect=True)
"""What a command does is the same on every database: a few whole ways show that it is."""


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = getattr(request, "param", "sqlite")
    return chosen


@ON_BOTH
def test_a_newcomers_way_from_init_to_nothing_left(cold_ogc: Ogc, cloud: Cloud) -> None:
    first = ok(cold_ogc("init", "--name", "Ada"))
    assert "user Ada (ada): created" in first
    assert "ogc.yml: written" in first
    again = ok(cold_ogc("init", "--name", "Someone"))
    assert "user Ada (ada): exists, nothing to do" in again
    assert "written" not in again

    launched = ok(cold_ogc("launch"))
    assert "launched 7 of 7 nodes" in launched
    assert "deployed 7 of 7 nodes" in launched

    listed = ok(cold_ogc("ls"))
    names = [word for word in listed.split() if word.startswith("ogc-")]
    assert len(names) == 7
    assert listed.count("running") == 7
    ids = {word for word in listed.split() if word.startswith("i-")}
    assert ids <= {each["id"] for each in cloud.instances() if each["state"] == "running"}

    said = ok(cold_ogc("exec", "cat page.html", "--layout", "web"))
    web = [name for name in names if name.startswith("ogc-web-")]
    assert all(f"<h1>{name}</h1>" in said for name in web)

    assert "tore down 1 of 1 nodes" in ok(cold_ogc("rm", web[0], "--yes"))
    assert "tore down 6 of 6 nodes" in ok(cold_ogc("rm-all", "--yes"))
    assert "no nodes on record" in ok(cold_ogc("ls"))
    assert ok(cold_ogc("ls", "--all")).count("terminated") == 7
    assert ids.isdisjoint({each["id"] for each in cloud.instances() if each["state"] != "terminated"})


@ON_BOTH
def test_sync_brings_each_layout_to_its_scale_and_plan_says_how(ogc: Ogc) -> None:
    ok(ogc("init"))
    planned = "launch: 4 nodes of web (scale 4, 0 there)\nlaunch: 3 nodes of worker (scale 3, 0 there)\n"
    assert ok(ogc("plan")) == planned
    synced = ok(ogc("sync"))
    assert synced.startswith(planned)
    assert "deployed 7 of 7 nodes" in synced
    assert ok(ogc("plan")) == "cloud, database and spec agree, nothing to do\n"
    ok(ogc("rm-all", "--yes", "--force"))


def test_no_deploy_launches_only(ogc: Ogc) -> None:
    ok(ogc("init"))
    launched = ok(ogc("launch", "web", "--no-deploy"))
    assert "launched 4 of 4 nodes" in launched
    assert "deployed" not in launched
    assert "deployed 4 of 4 nodes" in ok(ogc("deploy", "--layout", "web"))
    again = ok(ogc("deploy", "--layout", "web"))
    assert again.count("skipped") == 8
    assert "skipped" not in ok(ogc("deploy", "--layout", "web", "--rerun"))
    ok(ogc("rm-all", "--yes"))


def test_a_sync_that_ends_machines_asks_first_and_does_what_was_agreed_to(fleet: Ogc, work_folder: Path) -> None:
    spec = work_folder / "ogc.yml"
    spec.write_text(spec.read_text().replace("scale: 4", "scale: 1"))
    refused = fleet("sync")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "End 3 machines? Nobody is there to be asked; say --yes" in refused.stderr
    assert ok(fleet("ls")).count("running") == 7
    assert re.search(r"^tear down: 3 nodes \(ogc-web-.*\(scale 1, 4 there\)$", ok(fleet("sync", "--yes")), re.MULTILINE)
    status = ok(fleet("status"))
    assert re.search(r"^web +1 +1$", status, re.MULTILINE), status
    assert re.search(r"^worker +3 +3$", status, re.MULTILINE), status
    spec.write_text(spec.read_text().replace("scale: 1", "scale: 2"))
    reconciled = ok(fleet("status", "--reconcile"))
    assert "launch: a node of web (scale 2, 1 there)" in reconciled
    assert re.search(r"^web +2 +2$", reconciled, re.MULTILINE), reconciled
    ok(fleet("rm-all", "--yes", "--force"))


def test_selectors_combine_the_same_way_everywhere(fleet: Ogc) -> None:
    assert ok(fleet("ls", "1-2", "*worker*", "--layout", "w*", "--tag", "starter")).count("running") == 5
    assert "7 nodes identical" in ok(fleet("exec", "echo same", "--layout", "web", "--layout", "worker"))
    (name,) = re.findall(r"ogc-web-(\w+)", ok(fleet("ls", "1")))
    assert ok(fleet("exec", "echo $OGC_NODE_ID", name)).splitlines() == [f"── ogc-web-{name} (0)", "1"]
    assert "tore down 2 of 2 nodes" in ok(fleet("rm", "1-2", "--state", "running", "--force", "--yes"))
    gone = fleet("exec", "true", name)
    assert (gone.returncode, gone.stderr) == (
        3,
        f"ogc: ogc-web-{name}: is terminated, not running; `ogc ls` shows why\n",
    )
    assert ok(fleet("ls", "--state", "terminated")).count("terminated") == 2
    ok(fleet("rm-all", "--yes", "--force"))


@ON_BOTH
def test_what_a_fleet_says_is_folded_now_and_from_the_record(fleet: Ogc) -> None:
    command = 'echo one; [ "$OGC_NODE_ID" -ne 3 ] || { echo three; exit 3; }'
    done = fleet("exec", command, "--all")
    assert done.returncode == 1
    title, head, one, odd, *rest = done.stdout.splitlines()
    assert (title, one) == ("6 nodes identical, 1 differs", "one")
    assert head == "── 6 nodes: web 1-2, 4; worker 5-7 (0)"
    assert re.fullmatch(r"── ogc-web-\w+ \(3\)", odd)
    assert rest == ["one", "three"]

    recorded = ok(fleet("inspect", "--all", "--step", "echo one*"))
    assert recorded.splitlines()[1:] == [head, one, odd, *rest]
    assert "6 nodes identical, 1 differs" in recorded
    differing = ok(fleet("inspect", "--all", "--step", "echo one*", "--diff")).splitlines()
    assert differing[-3:] == ["@@ -1 +1,2 @@", " one", "+three"]
    ok(fleet("rm-all", "--yes", "--force"))


def test_streamed_lines_carry_their_nodes_name_and_are_not_repeated(fleet: Ogc) -> None:
    said = ok(fleet("exec", "echo first; echo last; printf rest", "--layout", "worker", "--stream")).splitlines()
    assert len(said) == 9
    for text in ("first", "last", "rest"):
        assert len([line for line in said if re.fullmatch(rf"ogc-worker-\w+ \| {text}", line)]) == 3
    ok(fleet("rm-all", "--yes", "--force"))


def test_one_node_is_shown_with_its_facts_and_its_whole_history(fleet: Ogc) -> None:
    ok(fleet("exec", "echo once", "1"))
    shown = ok(fleet("inspect", "1"))
    assert re.search(r"^node     ogc-web-\w+ \(id 1\)$", shown, re.MULTILINE)
    for words in ("state    running", "cloud    aws us-east-2", "host key ssh-ed25519 ", "tags     starter"):
        assert f"\n{words}" in shown
    heads = re.findall(r"^── (.+) \(0\) (\w+), ", shown, re.MULTILINE)
    assert heads == [("1-greet.sh", "deploy"), ("2-page.sh.mako", "deploy"), ("echo once", "exec")]
    ok(fleet("rm-all", "--yes", "--force"))


@ON_BOTH
def test_the_timeline_is_on_record_and_drawn(fleet: Ogc, work_folder: Path) -> None:
    drawn = ok(fleet("inspect", "--all", "--timeline", "--export", "fleet.svg"))
    phases = re.findall(r"^\S\S  (\S+) +(\d+) ", drawn, re.MULTILINE)
    assert phases[:4] == [("plan", "7"), ("boot", "7"), ("ssh", "7"), ("push", "7")]
    assert set(phases[4:]) == {("1-greet.sh", "4"), ("2-page.sh.mako", "4"), ("1-compute.sh", "3")}
    assert len(re.findall(r"^ogc-\S+ .*░.* \d+\.\ds$", drawn, re.MULTILINE)) == 7
    picture = ElementTree.fromstring((work_folder / "fleet.svg").read_text())
    assert len(picture.findall(".//{*}rect/{*}title")) == 7 * 4 + 4 * 2 + 3
    ok(fleet("rm-all", "--yes", "--force"))


def test_another_folder_of_scripts_is_run(fleet: Ogc, work_folder: Path) -> None:
    folder = work_folder / "more"
    folder.mkdir()
    (folder / "1-id.sh").write_text("#!/bin/sh\necho id $OGC_NODE_ID\n")
    said = ok(fleet("exec-scripts", "more", "--layout", "worker")).splitlines()
    assert said[0] == "3 nodes, each different"
    assert [line.split("  ")[1] for line in said[1:]] == ["id 5", "id 6", "id 7"]
    ok(fleet("rm-all", "--yes", "--force"))


def test_a_failing_command_fails_the_program_and_shows_where(ogc: Ogc) -> None:
    ok(ogc("init"))
    ok(ogc("launch", "worker", "--no-deploy"))
    done = ogc("exec", "echo trouble; exit 4", "--all")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "3 nodes identical"
    assert done.stdout.count("trouble") == 1
    assert done.stdout.count("(4)") == 1
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
        (("deploy", "--all"), 3, "no node is running"),
        (("exec", "true", "--tag", "nope"), 3, "--tag nope"),
        (("inspect",), 2, "which nodes?"),
        (("spec", "check", "none.yml"), 2, "none.yml"),
        (("ssh", "ogc-nobody-1"), 3, "no such node: ogc-nobody-1"),
        (("ls", "--export", "ls.png"), 2, ".svg or .html"),
        (("ls", "--export", "no/such/folder/ls.svg"), 2, "can not be written"),
        (("ls", "--log-file", "no/such/folder/log"), 2, "can not be written"),
        (("rm-key-pairs",), 2, "which key pairs?"),
        (("rm-key-pairs", "nope"), 3, "nope"),
        (("import-env", "none.json"), 2, "none.json"),
        (("import-env", "no/such/folder/fleet.json"), 2, "No such file"),
    ],
)
def test_what_can_not_be_done_is_one_clear_message_and_its_exit_code(
    ogc: Ogc, words: tuple[str, ...], code: int, says: str
) -> None:
    ok(ogc("init"))
    done = ogc(*words)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_file_that_is_no_fleet_s_is_refused(ogc: Ogc) -> None:
    ok(ogc("init"))
    done = ogc("import-env", "ogc.yml")
    assert (done.returncode, done.stdout) == (1, "")
    said, then = done.stderr.splitlines()
    assert said.startswith("ogc: ogc.yml: is not what export-env writes: Expecting value")
    assert then == "nothing was taken over; let its writer export the fleet again"


def test_a_spec_that_can_not_be_read_is_told_with_every_problem_at_its_place(ogc: Ogc, work_folder: Path) -> None:
    ok(ogc("init"))
    assert ok(ogc("spec", "check")) == "starter: 2 layouts, 7 nodes; all well\n"
    spec = work_folder / "ogc.yml"
    spec.write_text(spec.read_text().replace("scale: 4", "scale: many").replace("ports", "prots"))
    done = ogc("spec", "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.findall(r"ogc\.yml:\d+:\d+: layouts\.web\.(\w+)", done.stderr) == ["scale", "prots"]
    assert ogc("launch").returncode == ogc("plan").returncode == ogc("status").returncode == 2
    spec.unlink()
    assert ogc("launch").returncode == 2
    assert ok(ogc("status")) == "no nodes on record\n"


def test_what_a_spec_names_is_checked_too(ogc: Ogc, work_folder: Path) -> None:
    ok(ogc("init"))
    (work_folder / "keys/ogc_ed25519.pub").unlink()
    (work_folder / "scripts/worker").rename(work_folder / "scripts/elsewhere")
    spec = work_folder / "ogc.yml"
    spec.write_text(spec.read_text().replace("scale: 4", "scale: 4\n    platform: windows\n    ttl: 1h"))
    done = ogc("spec", "check")
    assert (done.returncode, done.stdout) == (1, "starter: 2 layouts, 7 nodes; 4 problems\n")
    assert len(done.stderr.splitlines()) == 4
    assert "layouts.web.ttl: cannot be kept on a Windows machine of EC2: " in done.stderr


def test_a_port_that_is_taken_is_said(ogc: Ogc, cloud: Cloud) -> None:
    port = cloud.endpoint.rpartition(":")[2]
    done = ogc("sandbox", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith("ogc sandbox: ")
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_tells_more_on_stderr_and_all_in_a_file(ogc: Ogc, work_folder: Path) -> None:
    ok(ogc("init"))
    told = ogc("ls", "-v", "--log-file", "ogc.log")
    assert told.stdout == "no nodes on record\n"
    assert " INFO " in told.stderr
    assert "ogc_async.db.engine: database: " in (work_folder / "ogc.log").read_text()


def test_without_a_database_the_message_says_what_to_do(ogc: Ogc) -> None:
    done = ogc("ls", OGC_DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "hidden" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_removing_asks_first_and_no_means_nothing_is_removed(ogc: Ogc) -> None:
    ok(ogc("init"))
    ok(ogc("launch", "worker", "--no-deploy"))
    done = ogc("rm-all")
    assert done.returncode == 2
    assert "Tear down 3 nodes? Nobody is there to be asked; say --yes" in done.stderr
    assert ok(ogc("ls")).count("running") == 3
    ok(ogc("rm-all", "--yes", "--force"))
