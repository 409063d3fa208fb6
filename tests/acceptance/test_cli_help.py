"""Help: short, quick, and the same in the README."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import typer

from ogc_async.cli.commands import cli
from ogc_async.cli.help import listed_commands
from tests.acceptance.command_pages import SECTION, command_section, help_pages
from tests.acceptance.conftest import Ogc
from tests.cloud import bare_environment
from tests.programs import run
from tests.timing import HANGS_AFTER_S

README = Path(__file__).parents[2] / "README.md"
TRIES = 5
HEAVY = (
    "rich",
    "sqlalchemy",
    "pydantic_settings",
    "asyncssh",
    "aiohttp",
    "aiobotocore",
    "botocore",
    "alembic",
    "asyncio",
    "anyio",
)
LOGGING_IN = ("asyncssh", "mako", "pygments", "alembic")
ASKING_A_CLOUD = ("cryptography", "aiohttp", "botocore")
PAGES = help_pages()
OGC = [sys.executable, "-m", "ogc_async"]


@pytest.fixture
def kind() -> str:
    return "sqlite"


def test_the_readme_says_what_the_help_says() -> None:
    (written,) = SECTION.findall(README.read_text(encoding="utf-8"))
    assert written == command_section(), "run `make readme`"


@pytest.mark.parametrize(("path", "text"), PAGES, ids=[path for path, _ in PAGES])
def test_every_help_fits_a_screen_and_says_what_each_option_does(path: str, text: str) -> None:
    lines = text.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"Usage: {path} ")
    assert lines[2].startswith("  "), "it says nothing of what it does"
    assert [line for line in lines if line.startswith("  --help ")]


def test_every_command_is_in_the_programs_help(ogc: Ogc) -> None:
    commands = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    assert set(commands) <= set(listed_commands())
    shown = ogc("--help").stdout
    assert all(f"  {name} " in shown for name in commands)
    assert ogc().stdout == shown


def test_help_takes_little_time() -> None:
    """CPU seconds of whole processes, the best of a few, side by side: a slow or busy machine slows down both."""

    def once(words: Sequence[str], says: bytes) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(words, env=bare_environment(), capture_output=True, timeout=HANGS_AFTER_S, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert says in done.stdout
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    library = [sys.executable, "-c", "import typer"]
    laps = [(once([*OGC, "--help"], b"Usage: ogc"), once(library, b"")) for _ in range(TRIES)]
    ours, typers = map(min, zip(*laps, strict=True))
    assert ours < 2.5 * typers, "the library that prints it takes two fifths of the time at least"


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    for words in ([], ["--help"], ["launch", "--help"], ["inspect", "--help"], ["--version"], ["nonsense"]):
        assert imported(HEAVY, words, bare_environment(), tmp_path) == "[]", words


def test_who_asks_what_is_on_record_waits_for_no_library_that_asks_a_cloud_or_logs_in(
    ogc: Ogc, ogc_environment: dict[str, str], work_folder: Path
) -> None:
    assert ogc("init").returncode == 0
    for words in (["ls"], ["status"], ["inspect", "nobody"]):
        assert imported((*ASKING_A_CLOUD, *LOGGING_IN), words, ogc_environment, work_folder) == "[]", words
    assert imported(LOGGING_IN, ["plan"], ogc_environment, work_folder) == "[]"


def imported(names: Sequence[str], words: Sequence[str], environment: Mapping[str, str], cwd: Path) -> str:
    """Which of these libraries are loaded when ``ogc`` has done what the words say."""
    code = (
        "import sys; from ogc_async.cli.main import run; code = run(sys.argv[1:]);"
        f" print([name for name in {names!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = run([sys.executable, "-c", code, *words], env=environment, cwd=cwd)
    return done.stderr.splitlines()[-1]


def test_no_command_but_the_sandbox_imports_what_serves_it() -> None:
    code = (
        "import sys; from ogc_async.cli import fleet_work, house_work, inspect_work, key_pair_work, ssh_work;"
        "print([name for name in sys.modules if name.startswith('ogc_async.sandbox')])"
    )
    assert run([sys.executable, "-c", code], env=bare_environment()).stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("lauch",), "Did you mean 'launch'?"),
        (("exec-script", "x"), "'exec-scripts'"),
        (("ls", "--jsn"), "Did you mean --json?"),
        (("rm", "--forse"), "Did you mean --force"),
        (("exec",), "COMMAND"),
        (("completion", "tcsh"), "'bash', 'zsh', 'fish'"),
        (("ls", "--state", "asleep"), "'running'"),
        (("exec", "true", "--all", "--timeout", "soon"), "--timeout"),
    ],
)
def test_a_slip_of_the_finger_is_one_sentence_with_a_hint(ogc: Ogc, words: tuple[str, ...], says: str) -> None:
    done = ogc(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ogc: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(ogc: Ogc, shell: str) -> None:
    done = ogc("completion", shell)
    assert done.returncode == 0
    assert f"_OGC_COMPLETE=complete_{shell}" in done.stdout


def test_bash_is_told_commands_options_and_names_of_nodes_and_layouts(fleet: Ogc) -> None:
    def completed(line: str) -> list[str]:
        words = line.split(" ")
        done = fleet(_OGC_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert {"launch", "ls", "ls-key-pairs"} <= set(completed("ogc l"))
    assert "--timeline" in completed("ogc inspect --t")
    assert completed("ogc launch w") == ["web", "worker"]
    assert completed("ogc ls --tag st") == ["starter"]
    assert len(completed("ogc exec true ogc-web-")) == 4
    assert fleet("rm-all", "--yes", "--force").returncode == 0
