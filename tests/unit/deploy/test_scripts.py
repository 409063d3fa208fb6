"""A script folder on disk: what is pushed, what is run, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async.deploy import scripts as room
from ogc_async.deploy.scripts import ScriptFolder, is_step, is_teardown, natural_key, read_scripts
from ogc_async.errors import ScriptsError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def folder(base: Path) -> Path:
    return write(base / "scripts", "1-first.sh").parent


def write(folder: Path, *names: str, data: bytes = b"true\n") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / names[-1]


def steps(read: ScriptFolder) -> list[str]:
    return [each.path for each in read.steps]


def pushed(read: ScriptFolder) -> list[str]:
    return [each.target for each in read.files]


def test_steps_run_by_the_value_of_their_numbers(folder: Path, base: Path) -> None:
    write(folder, "10-late.sh", "2-second.sh", "2-second-b.sh", "a.sh", "010-tie.sh")
    read = read_scripts(folder, base=base)
    assert steps(read) == ["1-first.sh", "2-second-b.sh", "2-second.sh", "010-tie.sh", "10-late.sh", "a.sh"]


@pytest.mark.parametrize("path", ["²", "1²3.sh", "٣-arabic", "", "9" * 400])
def test_no_file_name_is_too_odd_for_an_order(path: str) -> None:
    assert natural_key(path) == natural_key(path)
    assert sorted([path, "1-a", "b"], key=natural_key)


def test_files_in_folders_hidden_files_and_backups_are_pushed_and_not_run(folder: Path, base: Path) -> None:
    write(folder, "lib/2-helper.sh", ".profile", "1-first.sh~", "functions.mako", "_part.sh.mako")
    read = read_scripts(folder, base=base)
    assert steps(read) == ["1-first.sh"]
    assert sorted(pushed(read)) == [
        ".profile",
        "1-first.sh",
        "1-first.sh~",
        "_part.sh.mako",
        "functions.mako",
        "lib/2-helper.sh",
    ]


@pytest.mark.parametrize("name", ["teardown", "teardown.sh", "teardown.py", "teardown.sh.mako"])
def test_a_teardown_of_any_ending_is_set_aside(name: str, folder: Path, base: Path) -> None:
    write(folder, name)
    read = read_scripts(folder, base=base)
    assert steps(read) == ["1-first.sh"]
    assert read.teardown is not None
    assert read.teardown.path == name
    assert read.teardown in read.files


@pytest.mark.parametrize("name", ["teardown-all.sh", "1-teardown.sh", "Teardown.sh"])
def test_a_name_that_only_sounds_like_teardown_is_a_step(name: str) -> None:
    assert not is_teardown(name)
    assert is_step(name)


def test_a_teardown_in_a_folder_below_is_an_ordinary_file(folder: Path, base: Path) -> None:
    write(folder, "lib/teardown.sh")
    assert read_scripts(folder, base=base).teardown is None


def test_two_teardown_scripts_are_refused_since_one_would_never_run(folder: Path, base: Path) -> None:
    write(folder, "teardown.sh", "teardown.py")
    with pytest.raises(ScriptsError, match=r"teardown\.py and teardown\.sh"):
        read_scripts(folder, base=base)


def test_two_files_that_are_one_on_the_node_are_refused(folder: Path, base: Path) -> None:
    write(folder, "1-first.sh.mako")
    with pytest.raises(ScriptsError, match=r"1-first\.sh and 1-first\.sh\.mako are both 1-first\.sh"):
        read_scripts(folder, base=base)


def test_any_byte_and_the_executable_bit_survive_reading(folder: Path, base: Path) -> None:
    data = bytes(range(256)) * 3
    write(folder, "lib/blob.bin", data=data).chmod(0o755)
    blob = next(each for each in read_scripts(folder, base=base).files if each.path == "lib/blob.bin")
    assert (blob.data, blob.mode, blob.is_template) == (data, 0o755, False)


def test_one_script_instead_of_a_folder_is_the_only_step(folder: Path, base: Path) -> None:
    script = write(folder, "2-other.sh")
    read = read_scripts(script, base=base)
    assert (read.folder, steps(read), pushed(read)) == (folder, ["2-other.sh"], ["2-other.sh"])


def test_included_files_keep_their_path_below_the_base_and_are_not_run(folder: Path, base: Path) -> None:
    write(base, "conf/app.ini", "conf/deep/x.ini", "top.sh", "other.txt")
    read = read_scripts(folder, base=base, include=["conf", "top.sh", "conf/*.ini"])
    assert steps(read) == ["1-first.sh"]
    assert pushed(read) == ["1-first.sh", "conf/app.ini", "conf/deep/x.ini", "top.sh"]


def test_an_included_file_never_replaces_one_of_the_folder(folder: Path, base: Path) -> None:
    write(base, "1-first.sh", data=b"other")
    read = read_scripts(folder, base=base, include=["1-first.sh"])
    assert [(each.path, each.data) for each in read.files] == [("1-first.sh", b"true\n")]


@pytest.mark.parametrize("name", ["site.conf.mako", ".hidden.mako", "conf/site.conf.mako"])
def test_an_included_template_is_a_template(name: str, folder: Path, base: Path) -> None:
    write(base, name)
    included = read_scripts(folder, base=base, include=[name]).files[-1]
    assert (included.is_template, included.target) == (True, name.removesuffix(".mako"))


@pytest.mark.parametrize(
    "pattern", ["notes.md", "*.md", "docs", "docs/", "docs/*", "docs/notes.md", "scripts/docs", "scripts/docs/notes.md"]
)
def test_what_is_excluded_by_name_folder_or_path_is_not_pushed(pattern: str, folder: Path, base: Path) -> None:
    write(folder, "docs/notes.md")
    assert pushed(read_scripts(folder, base=base, exclude=[pattern])) == ["1-first.sh"]


def test_exclude_holds_for_included_files_too(folder: Path, base: Path) -> None:
    write(base, "conf/app.ini", "conf/secret.key")
    read = read_scripts(folder, base=base, include=["conf"], exclude=["*.key"])
    assert pushed(read) == ["1-first.sh", "conf/app.ini"]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("/etc/passwd", "below"), ("", "below"), ("nothing*", "matches nothing"), ("../*.txt", "leads out")],
)
def test_a_pattern_that_leads_nowhere_or_out_is_refused(pattern: str, says: str, tmp_path: Path) -> None:
    write(tmp_path, "outside.txt")
    folder = write(tmp_path / "project" / "scripts", "1.sh").parent
    with pytest.raises(ScriptsError, match=says):
        read_scripts(folder, base=tmp_path / "project", include=[pattern])


def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, base: Path) -> None:
    (folder / "2-link.sh").symlink_to(write(base, "secret"))
    with pytest.raises(ScriptsError, match="leads out"):
        read_scripts(folder, base=base)


def test_a_folder_that_is_missing_or_holds_no_script_says_so(folder: Path, base: Path) -> None:
    with pytest.raises(ScriptsError, match="does not exist"):
        read_scripts(base / "none", base=base)
    with pytest.raises(ScriptsError, match="no script"):
        read_scripts(folder, base=base, exclude=["*.sh"])


def test_a_folder_too_large_for_memory_is_refused(folder: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_FOLDER_BYTES", 10)
    write(folder, "lib/data", data=b"12345678901")
    with pytest.raises(ScriptsError, match="at most 10"):
        read_scripts(folder, base=base)


def test_the_digest_changes_with_any_name_byte_or_mode(folder: Path, base: Path) -> None:
    def digest() -> str:
        return read_scripts(folder, base=base).sha256

    seen = [digest()]
    assert digest() == seen[0]
    write(folder, "1-first.sh", data=b"false\n")
    seen.append(digest())
    (folder / "1-first.sh").chmod(0o700)
    seen.append(digest())
    (folder / "1-first.sh").rename(folder / "2-first.sh")
    seen.append(digest())
    assert len(set(seen)) == 4
