"""``ogc`` on a terminal: one live picture, Ctrl-C once and twice, windows of any width."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ogc_async.cli.progress import draw
from ogc_async.cli.tally import Tally
from ogc_async.events import NodeMoved
from ogc_async.types import NodeState
from tests.acceptance.conftest import Ogc
from tests.cloud import Cloud, running_sandbox
from tests.programs import run
from tests.terminal import CTRL_C, Terminal, on_terminal
from tests.timing import HANGS_AFTER_S

ENDED = ("terminated", "shutting-down", "TERMINATED", "STOPPING")
OGC = [sys.executable, "-m", "ogc_async"]


@pytest.fixture
def kind() -> str:
    """What a terminal shows is the same on every database."""
    return "sqlite"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud whose machines do not come up while a test lasts."""
    with running_sandbox("--boot", "300", environment={"HOME": str(tmp_path)}) as cloud:
        yield cloud


@pytest.fixture
def staggered(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud whose first machines run, for many pictures, while its last ones boot."""
    with running_sandbox("--boot", "0.2:4", environment={"HOME": str(tmp_path)}) as cloud:
        yield cloud


def living(cloud: Cloud) -> list[str]:
    machines = cloud.state()["instances"].values()
    return [each["id"] for part in machines for each in part if each["state"] not in ENDED]


def shows(pattern: str) -> Callable[[list[str]], bool]:
    return lambda screen: any(re.search(pattern, line) for line in screen)


def slow_environment(slow: Cloud, tmp_path: Path) -> dict[str, str]:
    own = {"HOME": str(tmp_path), "OGC_DATA_DIR": str(tmp_path / "data"), "OGC_POLL_S": "0.1"}
    environment = slow.environment | own | {"OGC_CANCEL_S": str(HANGS_AFTER_S)}
    done = run([*OGC, "init"], env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return environment


def test_a_launch_is_one_picture_from_start_to_end(
    ogc: Ogc, ogc_environment: dict[str, str], staggered: Cloud, work_folder: Path
) -> None:
    environment = ogc_environment | staggered.environment
    assert ogc("init", **environment).returncode == 0
    spec = (work_folder / "ogc.yml").read_text().replace("scale: 4", "scale: 24").replace("scale: 3", "scale: 16")
    (work_folder / "ogc.yml").write_text(spec)
    with on_terminal([*OGC, "launch"], env=environment, cwd=work_folder) as terminal:
        terminal.wait_for(shows(r"^launch [━─]+ +\d+/40 "))
        terminal.wait_for(shows(r"^nodes   .*running"))
        terminal.wait_for(shows(r"^deploy [━─]+ +\d+/40 "))
        assert terminal.ended() == 0
    assert max(len(screen) for screen in terminal.screens) <= 12
    said = "\n".join(terminal.screen)
    assert "launched 40 of 40 nodes" in said
    assert re.search(r"^web +1-greet.sh +24 +0 ", said, re.MULTILINE)
    assert re.search(r"^worker +1-compute.sh +16 +0 .*sum: 500500", said, re.MULTILINE)
    assert terminal.screen[-1] == "deployed 40 of 40 nodes"
    assert b"\x1b[?25h" in terminal.raw.rpartition(b"\x1b[?25l")[2], "the cursor was not given back"
    assert ogc("rm-all", "--yes", "--force", **environment).returncode == 0


def test_ctrl_c_once_takes_the_launch_back_and_says_what_remains(slow: Cloud, tmp_path: Path) -> None:
    environment = slow_environment(slow, tmp_path)
    with on_terminal([*OGC, "launch"], env=environment, cwd=tmp_path) as terminal:
        terminal.wait_for(lambda _: len(living(slow)) == 7)
        terminal.press(CTRL_C)
        terminal.wait_for(shows("press Ctrl-C again to stop now"))
        assert terminal.ended() == 130
    assert "ogc: interrupted; 0 of 7 nodes were done, and no machine of the others is left" in terminal.text
    assert "Traceback" not in terminal.raw.decode()
    assert living(slow) == []
    assert run([*OGC, "ls"], env=environment, cwd=tmp_path).stdout == "no nodes on record\n"


def test_ctrl_c_twice_stops_at_once_and_everything_is_on_record(slow: Cloud, tmp_path: Path) -> None:
    # Machines that take for ever to end: only the second Ctrl-C ends the program soon.
    environment = slow_environment(slow, tmp_path) | {"OGC_CANCEL_S": "600", "OGC_POLL_S": "600"}
    with on_terminal([*OGC, "launch"], env=environment, cwd=tmp_path) as terminal:
        terminal.wait_for(lambda _: len(living(slow)) == 7)
        terminal.press(CTRL_C)
        terminal.wait_for(shows("press Ctrl-C again to stop now"))
        terminal.press(CTRL_C)
        assert terminal.ended() == 130
    assert "ogc: stopped at once; 7 nodes that were being worked on are on record" in terminal.text
    assert "Traceback" not in terminal.raw.decode()
    listed = run([*OGC, "ls"], env=environment, cwd=tmp_path).stdout
    assert len(re.findall(r"^\d+ +ogc-\w+-\w+ ", listed, re.MULTILINE)) == 7


def test_ctrl_c_ends_a_command_on_every_node_and_leaves_the_nodes(
    ogc: Ogc, ogc_environment: dict[str, str], work_folder: Path
) -> None:
    for words in (("init",), ("launch", "worker", "--no-deploy")):
        assert ogc(*words).returncode == 0
    with on_terminal(
        [*OGC, "exec", "echo begun; sleep 600", "--all"], env=ogc_environment, cwd=work_folder
    ) as terminal:
        terminal.wait_for(shows("slowest .*sleep 600"))
        terminal.press(CTRL_C)
        assert terminal.ended() == 130
    assert "interrupted; 0 of 3 nodes were done; on record remain 3 running" in terminal.text
    recorded = ogc("inspect", "--all").stdout
    assert "3 nodes identical" in recorded
    assert "(interrupted)" in recorded
    assert ogc("rm-all", "--yes", "--force").returncode == 0


def test_ctrl_c_at_a_question_means_no(
    ogc: Ogc, fleet: Ogc, ogc_environment: dict[str, str], work_folder: Path
) -> None:
    with on_terminal([*OGC, "rm-all"], env=ogc_environment, cwd=work_folder) as terminal:
        terminal.wait_for(shows(r"Tear down 7 nodes\? \[y/N\]"))
        terminal.press(CTRL_C)
        assert terminal.ended() in (1, 130)
    assert fleet("ls").stdout.count("running") == 7
    with on_terminal([*OGC, "rm-all"], env=ogc_environment, cwd=work_folder) as terminal:
        terminal.wait_for(shows(r"Tear down 7 nodes\? \[y/N\]"))
        terminal.press(b"n\n")
        assert terminal.ended() == 1
    assert "nothing was done" in terminal.text
    with on_terminal([*OGC, "rm-all", "--force"], env=ogc_environment, cwd=work_folder) as terminal:
        terminal.wait_for(shows(r"Tear down 7 nodes\? \[y/N\]"))
        terminal.press(b"y\n")
        assert terminal.ended() == 0
    assert "tore down 7 of 7 nodes" in terminal.text


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_every_width_shows_what_matters_most(
    fleet: Ogc, ogc_environment: dict[str, str], work_folder: Path, columns: int
) -> None:
    def shown(*words: str) -> Terminal:
        with on_terminal([*OGC, *words], env=ogc_environment, cwd=work_folder, columns=columns, lines=60) as terminal:
            assert terminal.ended() == 0, terminal.raw
        return terminal

    listed = shown("ls")
    assert len(listed.screen) == 8, "a line was folded"
    assert sum("ogc-w" in line for line in listed.screen) == 7
    assert ("instance" in listed.screen[0]) == (columns == 200)
    assert "web" in shown("status").text
    assert "phase" in shown("inspect", "--all", "--timeline").text
    assert "7 nodes identical" in shown("exec", "echo same", "--all").text
    assert fleet("rm-all", "--yes", "--force").returncode == 0


def test_at_width_20_an_error_is_one_sentence(ogc: Ogc, ogc_environment: dict[str, str], work_folder: Path) -> None:
    assert ogc("init").returncode == 0
    with on_terminal([*OGC, "ls", "nobody"], env=ogc_environment, cwd=work_folder, columns=20) as terminal:
        assert terminal.ended() == 3
    assert terminal.text.replace("\n", "") == "ogc: no such node: nobody; `ogc ls` lists the nodes on record"


def test_no_color_means_none(fleet: Ogc, ogc_environment: dict[str, str], work_folder: Path) -> None:
    colour = re.compile(rb"\x1b\[[0-9;]*3[0-9]")
    for variables, has_colours in (({}, True), ({"NO_COLOR": "1"}, False)):
        with on_terminal([*OGC, "ls"], env=ogc_environment | variables, cwd=work_folder) as terminal:
            assert terminal.ended() == 0
        assert bool(colour.search(terminal.raw)) is has_colours
    assert fleet("rm-all", "--yes", "--force").returncode == 0


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_five_hundred_nodes_are_a_few_lines_whatever_they_do(columns: int) -> None:
    now = [0.0]
    tally = Tally("launch", 500, {"running"}, clock=lambda: now[0])
    for state in (NodeState.PLANNED, NodeState.LAUNCHING, NodeState.RUNNING, NodeState.FAILED):
        for number in range(500):
            name = f"ogc-web-{number:08}"
            if state is NodeState.FAILED and number % 2:
                tally(NodeMoved(number, name, "web", state, reason=f"{name}: trouble of kind {number % 7}"))
            elif state is not NodeState.FAILED:
                tally(NodeMoved(number, name, "web", state))
            now[0] += 0.01
            lines = draw(tally.picture(), columns)
            assert len(lines) <= 7
            assert all(line.cell_len <= columns for line in lines)
    picture = tally.picture()
    assert (picture.done, picture.failed, picture.expected) == (500, 250, 500)
    assert sum(count for count, _ in picture.errors) > 100, "equal errors were not counted together"
