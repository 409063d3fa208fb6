"""A node's folder is inside of the one that was asked for, whatever name is on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async.actions.folders import node_folder
from ogc_async.errors import UnfitRecord
from tests.unit.cli.nodes import node

NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "/etc",
    "a/b",
    "a\\b",
    "-x",
    "x\0",
    "x\n",
    "\x1b[2J",
    "~",
    "OGC",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", NAMES, ids=[repr(name)[:20] for name in NAMES])
def test_a_name_that_no_launch_draws_has_no_folder(name: str, tmp_path: Path) -> None:
    bad = node(7, "ogc-web-1")
    object.__setattr__(bad, "name", name)
    with pytest.raises(UnfitRecord, match="node 7, ") as caught:
        node_folder(tmp_path, bad)
    assert caught.value.field == "name"
    assert str(caught.value).isprintable()


def test_a_link_of_the_node_s_name_is_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    into, home = tmp_path / "into", tmp_path / "home"
    into.mkdir()
    home.mkdir()
    (into / "ogc-web-1").symlink_to(home)
    with pytest.raises(UnfitRecord, match=r"names a link in .* that leads out of it; remove the link"):
        node_folder(into, node(1, "ogc-web-1"))


def test_the_folder_itself_may_be_a_link_relative_or_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "link", Path("artifacts"), Path("../x/y"), Path()):
        assert node_folder(folder, node(1, "ogc-web-1")) == folder / "ogc-web-1"
