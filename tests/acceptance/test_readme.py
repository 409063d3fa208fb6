"""The README is true: its programs run, its tables are complete, its demonstration is the one you get."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ogc_async.settings import Settings
from ogc_async.spec import Layout
from tests import programs
from tests.acceptance.blocks import blocks
from tests.cloud import Cloud
from tests.hostile import IN_EFFECT, Theirs

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, key_path: Path, scripts_folder: Path) -> Path:
    """The README's own spec, at a tenth of its scale, beside the script folder that it names."""
    (spec,) = blocks(README, "yaml")
    assert len(spec.strip().splitlines()) <= 12
    (tmp_path / "ogc.yml").write_text(spec.replace("~/.ssh/id_ed25519", str(key_path)).replace("200", "20"))
    (tmp_path / "scripts/web").parent.mkdir(exist_ok=True)
    scripts_folder.rename(tmp_path / "moved")
    (tmp_path / "scripts").mkdir(exist_ok=True)
    (tmp_path / "moved").rename(tmp_path / "scripts/web")
    return tmp_path


def run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = programs.run(
        words,
        cwd=folder,
        env=environment,
        timeout_s=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_programs_run_as_they_stand(folder: Path, cloud: Cloud, database_environment: dict[str, str]) -> None:
    environment = cloud.environment | database_environment
    run([sys.executable, "-m", "ogc_async", "init", "--folder", str(folder / "starter")], folder, environment)
    in_loop, plain = blocks(README, "python")
    assert [sum(bool(line.strip()) for line in code.splitlines()) for code in (in_loop, plain)] == [10, 5]
    said = run([sys.executable, "-W", "error", "-c", in_loop], folder, environment)
    assert said == "20 nodes, all well: True\n"
    kernel, _, result = run([sys.executable, "-W", "error", "-c", plain], folder, environment).splitlines()
    assert kernel.startswith("Linux")
    assert re.fullmatch(r"TeardownResult\(\[(\d+, ){19}\d+\], failures=0\)", result)
    run([sys.executable, "-m", "ogc_async", "rm-all", "--yes"], folder, environment)


def test_the_demonstration_prints_what_it_says_and_touches_nothing_of_theirs(theirs: Theirs) -> None:
    said = run([sys.executable, "-m", "ogc_async", "demo"], theirs.folder, theirs.environment(*IN_EFFECT))
    (shown, *_) = blocks(README, "text")
    assert [masked(line) for line in said.splitlines()] == [masked(line) for line in shown.splitlines()]
    assert theirs.were_left_alone()


def masked(line: str) -> str:
    """A line without what differs from run to run: credentials, addresses, ids, names, times, the space they take."""
    line = re.sub(r"^(AWS_\w*KEY\w*|SANDBOX_\w+)=\S+", r"\1=DRAWN", line)
    line = re.sub(r"ogc-(\w+)-\w{8}", r"ogc-\1-NAME", line)
    line = re.sub(r"\bi-[0-9a-f]+", "INSTANCE", line)
    line = re.sub(r"127\.\d+\.\d+\.\d+(:\d+)?", "ADDRESS", line)
    line = re.sub(r"\b\d+\.\d\d\b|\b\d+s\b", "TIME", line)
    line = re.sub(r"/\S*ogc-demo-\w+", "FOLDER", line)
    line = re.sub(r"us-east-2[abc]?", "ZONE", line)
    line = re.sub(r"/\S*ogc-sandbox-\w+", "FOLDER", line)
    return re.sub(r"[\s─-]+", " ", line).strip()


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_is_listed(field: str) -> None:
    assert f"| `{field.upper()}` |" in TEXT


@pytest.mark.parametrize("field", sorted(Layout.model_fields))
def test_every_layout_key_is_listed(field: str) -> None:
    key = field.replace("_", "-")
    assert key in {"name", "folder", "ssh-keys"} or f"| `{key}` |" in TEXT


def test_no_setting_is_listed_that_does_not_exist() -> None:
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", TEXT, re.MULTILINE))
    assert listed == {field.upper() for field in Settings.model_fields}
