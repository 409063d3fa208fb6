"""Files to nodes and back, by command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import Ogc


@pytest.fixture
def kind() -> str:
    return "sqlite"


def test_files_are_sent_fetched_and_counted(fleet: Ogc, work_folder: Path) -> None:
    (work_folder / "stuff").mkdir()
    (work_folder / "stuff/a.txt").write_text("one\n")
    sent = fleet("push-files", "stuff", "--all", "--to", "there")
    assert (sent.returncode, sent.stdout.splitlines()[-1]) == (0, "sent to 7 of 7 nodes"), sent.stderr
    assert "one\n" in fleet("exec", "cat there/stuff/a.txt", "--all").stdout
    fetched = fleet("pull-files", "there/stuff/*", "--layout", "worker", "--into", "got")
    assert (fetched.returncode, fetched.stdout.splitlines()[-1]) == (0, "fetched from 3 of 3 nodes")
    files = [path for path in (work_folder / "got").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.read_text() for path in files} == {"one\n"}
    assert all(str(path.relative_to(work_folder)) in fetched.stdout for path in files)

    answered = json.loads(fleet("pull-files", "there/stuff/*", "--node", "1-2", "--json").stdout)
    assert (answered["command"], len(answered["files"])) == ("pull-files", 2)
    assert fleet("pull-artifacts", "--all").stdout == "fetched from 7 of 7 nodes\n"
    assert fleet("rm-all", "--yes", "--force").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("push-files", "ogc.yml"), 2, "which nodes?"),
        (("push-files",), 2, "FILE"),
        (("pull-files", "x", "--node", "nobody"), 3, "no such node: nobody"),
        (("pull-artifacts", "--all"), 3, "no node is running"),
    ],
)
def test_what_can_not_be_copied_is_one_sentence(ogc: Ogc, words: tuple[str, ...], code: int, says: str) -> None:
    assert ogc("init").returncode == 0
    done = ogc(*words)
    assert (done.returncode, done.stdout, says in done.stderr) == (code, "", True), done.stderr
    assert len(done.stderr.splitlines()) == 1
