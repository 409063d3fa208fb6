"""Trying this out touches nothing of the user's, and nothing of theirs is in its way: each kind, and all at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contest import Contestant, race
from ogc_async.sandbox.isolation import LOCALE, NO_HOME, SYSTEM_PATH, own_environment
from ogc_async.sandbox.process import read_state, sandbox_process
from tests import programs
from tests.hostile import IN_EFFECT, Theirs, flat, hostile_variables

ROOT = Path(__file__).parents[2]
KINDS = tuple(hostile_variables(Path("/"), database="", proxy=""))


def test_an_environment_of_its_own_is_the_same_whatever_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = own_environment()
    hostile = flat(hostile_variables(tmp_path, database="theirs", proxy="theirs"))
    for name, value in hostile.items():
        with monkeypatch.context() as one:
            one.setenv(name, value)
            if name == "TMPDIR":
                assert own_environment() == {key: each for key, each in before.items() if key != "TMPDIR"}
            else:
                assert own_environment() == before, name
    assert len(hostile) > 120
    assert before["HOME"] == NO_HOME
    assert before["LANG"] == LOCALE


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_a_program_that_is_started_in_it_sees_none_of_that_kind(kind: str, tmp_path: Path) -> None:
    kinds = hostile_variables(tmp_path, database="theirs", proxy="theirs")
    chosen = flat(kinds) if kind == "all" else kinds[kind]
    # -I is of the test: the program itself starts under PYTHON… here.
    words = [sys.executable, "-I", "-m", "ogc_async.sandbox.isolation", "A=1", "env", "-0"]
    said = _variables(programs.run(words, env={"PATH": os.environ["PATH"]} | chosen))
    expected = own_environment(A="1")
    expected.pop("TMPDIR", None)
    assert said == expected


@pytest.mark.parametrize("given", ["", ".", "bin", ":", "./bin:", "../bin:"])
def test_only_absolute_folders_are_searched_for_programs(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", given)
    assert own_environment()["PATH"].split(":") == list(SYSTEM_PATH)


@pytest.mark.parametrize(
    "kind", ["missing", "a file", "read-only", "with a space", "relative", "too long for a socket"]
)
def test_a_temporary_folder_that_not_every_program_can_use_is_not_passed_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {
        "missing": "/nowhere",
        "a file": "/etc/passwd",
        "read-only": "/proc",
        "with a space": str(tmp_path / "a folder"),
        "relative": ".",
        "too long for a socket": str(tmp_path / ("long" * 20)),
    }
    if kind in ("with a space", "too long for a socket"):
        Path(folders[kind]).mkdir()
    monkeypatch.setenv("TMPDIR", folders[kind])
    assert "TMPDIR" not in own_environment()


def test_a_temporary_folder_that_every_program_can_use_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert own_environment()["TMPDIR"] == "/tmp"


def test_this_suite_runs_in_one() -> None:
    marks = ("AWS_", "GOOGLE_", "CLOUDSDK_", "POSTGRES_", "PG", "OGC_", "LC_", "PYTHON", "GIT_", "SSH_", "PIP_", "UV_")
    switches = ("OGC_CRASH", "OGC_CANCEL_AT")
    found = [name for name in os.environ if name.startswith(marks) and not name.startswith(switches)]
    assert found == []
    assert "proxy" not in " ".join(os.environ).lower()
    assert Path(os.environ["HOME"]).name.startswith("ogc-home-")
    assert not any(Path(name).exists() for name in (".env", "ogc.yml"))


def test_the_suite_touches_nothing_of_theirs(theirs: Theirs) -> None:
    """Databases of both kinds, settings, the command line forked and anew, the sandbox's machines: in a worker, too."""
    chosen = ("integration/db/test_users.py", "unit/test_settings.py", "acceptance/test_cli.py")
    these = "test_users or test_settings or no_deploy_launches_only"
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "1",
        "-k",
        these,
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    tests = [str(ROOT / "tests" / name) for name in chosen]
    done = programs.run([*words, *tests], cwd=theirs.folder, env=theirs.environment(*IN_EFFECT), timeout_s=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert theirs.were_left_alone()


def test_a_benchmark_touches_nothing_of_theirs(theirs: Theirs) -> None:
    words = [sys.executable, "-m", "benchmarks.fan_out", "--nodes", "1", "--boot", "0.1", "--latency", "0", "--json"]
    done = programs.run(words, cwd=ROOT, env=theirs.environment(*IN_EFFECT))
    assert done.returncode == 0, done.stderr
    assert theirs.were_left_alone()


def test_a_contestant_sees_nothing_of_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "contestant_file.py"
    path.write_text("import os\ndef race(job, _):\n    return [job['folder'], dict(os.environ)]\n")
    alone = own_environment()
    for name, value in flat(hostile_variables(tmp_path, database="theirs", proxy="theirs"), "folders").items():
        monkeypatch.setenv(name, value)
    contestant = Contestant(name="a test's own", file=str(path), environment="ogc_async", packages=())
    folder, seen = race(contestant, {}, timeout_s=30).answer
    assert seen == alone | {"HOME": folder}


def test_a_sandbox_meets_nothing_of_theirs(theirs: Theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in theirs.environment("folders").items():
        monkeypatch.setenv(name, value)
    with sandbox_process("--boot", "0") as variables:
        assert read_state(variables["AWS_ENDPOINT_URL"])["instances"] == {
            "aws": [],
            "google": [],
        }
    assert theirs.were_left_alone()


def test_a_sandbox_of_their_shell_runs_in_an_environment_of_its_own(theirs: Theirs) -> None:
    words = [sys.executable, "-m", "ogc_async.sandbox", "--print-env", "--attached"]
    environment = theirs.environment(*IN_EFFECT)
    with programs.started(words, cwd=theirs.folder, env=environment, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        variables = dict(line.strip().split("=", 1) for line in process.stdout)
        assert read_state(variables["AWS_ENDPOINT_URL"])["homes"] == 0
        process.stdin.close()
        assert process.wait(60) == 0
    assert theirs.were_left_alone()


def test_make_installs_by_their_sources_and_runs_without_anything_else_of_theirs(theirs: Theirs) -> None:
    sources = {
        "PIP_INDEX_URL": "https://theirs",
        "PIP_CERT": "theirs",
        "UV_INDEX_THEIRS_USERNAME": "me",
        "HTTPS_PROXY": "x",
    }
    odd = {"PIP_TARGET": "x", "PIP_USER": "1", "UV_PYTHON": "3.9", "UV_PROJECT_ENVIRONMENT": "x", "UV_FROZEN": "1"}
    python = {"PYTHONHOME": "/dev/null/nowhere"}
    environment = theirs.environment() | sources | odd | python
    words = ["make", "--no-print-directory", "--eval", "installs: ; @env -0", "--eval", "runs: ; @$(ALONE) env -0"]
    installs = _variables(programs.run([*words, "installs"], cwd=ROOT, env=environment))
    assert {name: installs.get(name) for name in sources} == sources
    refused = ("PYTHON", "GIT_", "PIP_T", "PIP_U", "UV_P", "UV_F", "VIRTUAL_ENV", "BASH_ENV", "ENV", "CDPATH")
    assert [name for name in installs if name.startswith(refused)] == []
    runs = _variables(programs.run([*words, "runs"], cwd=ROOT, env=environment))
    expected = own_environment()
    expected.pop("TMPDIR", None)
    assert runs == expected


def _variables(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
