"""Several files, merged from left to right."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async.spec import SpecLoader
from tests.unit.spec.conftest import HEAD, Load, Problems

DB = "  db:\n    provider: google\n    runs-on: debian-13\n    instance-size: e2-small\n"


def test_mappings_merge_deeply_and_single_values_and_lists_replace(load: Load) -> None:
    spec = load(
        HEAD + "    scale: 2\n    tags: [a, b]\n    labels: {one: 1, two: 2}\n    timeouts: {boot: 60, ssh: 10}\n",
        "layouts: {web: {scale: 5, tags: [c], labels: {two: zwei, three: 3}, timeouts: {ssh: 20}}}\n",
        "name: other\n",
    )
    web = spec.layout("web")
    assert (spec.name, web.scale, web.tags) == ("other", 5, ("c",))
    assert web.labels == {"one": "1", "two": "zwei", "three": "3"}
    assert (web.timeouts.boot, web.timeouts.ssh) == (60.0, 20.0)
    assert web.instance_size == "t3.small"


def test_layouts_keep_the_order_in_which_they_first_appear(load: Load) -> None:
    spec = load(HEAD + DB, "layouts:\n" + DB.replace("db:", "cache:") + "  web: {scale: 2}\n")
    assert [layout.name for layout in spec.layouts] == ["web", "db", "cache"]


def test_an_empty_mapping_removes_a_layout(load: Load) -> None:
    spec = load(HEAD + DB, "layouts: {web: {}}\n")
    assert [layout.name for layout in spec.layouts] == ["db"]


@pytest.mark.parametrize("key", ["labels", "tags", "ttl", "scale", "timeouts"])
def test_an_empty_mapping_removes_any_key_so_that_its_default_holds(load: Load, key: str) -> None:
    given = "    labels: {a: b}\n    tags: [a]\n    ttl: 1h\n    scale: 3\n    timeouts: {boot: 5}\n"
    plain = load(HEAD).layout("web")
    removed = load(HEAD + given, f"layouts: {{web: {{{key}: {{}}}}}}\n").layout("web")
    assert getattr(removed, key) == getattr(plain, key)


def test_what_one_file_removes_a_later_one_may_write_anew_at_the_end(load: Load) -> None:
    again = HEAD.split("layouts:\n")[1]
    spec = load(HEAD + "    scale: 9\n" + DB, "layouts: {web: {}}\n", "layouts:\n" + again)
    assert [(layout.name, layout.scale) for layout in spec.layouts] == [("db", 1), ("web", 1)]


def test_an_empty_mapping_with_nothing_to_remove_is_an_empty_mapping(load: Load) -> None:
    assert load(HEAD, "layouts: {web: {labels: {}}}\n").layout("web").labels == {}


def test_removing_a_layout_that_no_file_has_is_a_problem(problems: Problems) -> None:
    assert problems(HEAD, "layouts:\n  wbe: {}\n") == [
        (
            "2.yml:2:8: layouts.wbe: is empty; give it a provider, runs-on and instance-size"
            " (`{}` removes a layout only where an earlier file has it)"
        )
    ]


def test_removing_every_layout_leaves_a_spec_without_any(problems: Problems) -> None:
    assert problems(HEAD, "layouts: {web: {}}\n") == [
        "ogc.yml:5:3: layouts: is empty; a spec needs at least one layout"
    ]


def test_null_in_a_later_file_unsets_what_may_be_unset(load: Load) -> None:
    spec = load(HEAD + "    ttl: 1h\n    region: us-east-1\n", "layouts: {web: {ttl: null, region: }}\n")
    assert (spec.layout("web").ttl, spec.layout("web").region) == (None, None)


def test_places_follow_the_values(problems: Problems) -> None:
    first = HEAD + "    scale: lots\n    arch: mips\n"
    second = "layouts:\n  web:\n    scale: many\n    ports: [1, x]\n    scael: 1\n"
    assert problems(first, second) == [
        "ogc.yml:10:11: layouts.web.arch: must be 'x86_64' or 'arm64', not 'mips'",
        "2.yml:3:12: layouts.web.scale: must be a whole number from 0 to 10000, not 'many'",
        "2.yml:4:16: layouts.web.ports[1]: must be a port, not 'x'; write a port such as 80, '8000-8100' or '53/udp'",
        "2.yml:5:5: layouts.web.scael: unknown key 'scael'; did you mean 'scale'?",
    ]


def test_a_later_file_may_replace_what_is_wrong_in_an_earlier_one(load: Load) -> None:
    assert load(HEAD + "    scale: many\n", "layouts: {web: {scale: 4}}\n").layout("web").scale == 4


def test_a_mapping_in_place_of_a_single_value_replaces_it_and_is_told_so(problems: Problems) -> None:
    assert problems(HEAD, "layouts: {web: {provider: {a: b}}}\n") == [
        "2.yml:1:27: layouts.web.provider: must be 'aws' or 'google', not a mapping"
    ]


def test_each_path_starts_in_the_folder_of_the_file_it_is_written_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "base" / "ogc.yml").write_text(HEAD + "    scripts: scripts/web\n    include: [files/*]\n")
    (tmp_path / "site" / "more.yml").write_text(
        "ssh-keys: {public: ../shared/id.pub}\nlayouts:\n  web: {ssh-keys: {private: own}}\n" + DB
    )
    monkeypatch.chdir(tmp_path / "base")
    spec = SpecLoader.load(["ogc.yml", "../site/more.yml"])
    web, db = spec.layouts
    assert web.scripts == tmp_path / "base/scripts/web"
    assert web.ssh_keys.private == tmp_path / "site/own"
    assert web.ssh_keys.public == tmp_path / "site/own.pub"
    assert spec.ssh_keys.private == tmp_path / "base/keys/id_ed25519"
    assert db.ssh_keys.public == tmp_path / "shared/id.pub"
    assert (web.folder, db.folder) == (tmp_path / "base", tmp_path / "site")
    assert web.include == ("files/*",)
    assert spec.files == (tmp_path / "base/ogc.yml", tmp_path / "site/more.yml")
