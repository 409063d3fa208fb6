from __future__ import annotations

import re

import pytest

from ogc_async.providers.catalog import CATALOG, ImageQuery, UnknownImage, find_image


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("ubuntu-2404", "ubuntu-2404"),
        ("ubuntu-24.04", "ubuntu-2404"),
        ("Ubuntu_22.04", "ubuntu-2204"),
        ("debian-12", "debian-12"),
        ("amazon-linux-2023", "amazon-linux-2023"),
        ("amazon-linux-2", "amazon-linux-2"),
        ("RHEL 9", "rhel-9"),
    ],
)
def test_spellings_of_one_name_mean_the_same_image(spelling: str, name: str) -> None:
    assert find_image(spelling).name == name


def test_an_unknown_name_is_told_the_nearest_known_ones() -> None:
    with pytest.raises(UnknownImage, match=r"'ubunut-2404' is not a known image: did you mean ubuntu-2404"):
        find_image("ubunut-2404")


def test_a_name_like_no_other_is_told_all_of_them() -> None:
    with pytest.raises(UnknownImage) as caught:
        find_image("zzz")
    assert all(name in str(caught.value) for name in CATALOG)


@pytest.mark.parametrize("query", CATALOG.values(), ids=lambda query: query.name)
def test_every_entry_is_a_query_and_never_an_id(query: ImageQuery) -> None:
    assert query.aws is not None
    for arch in query.arches():
        told = f"{query.aws.parameter_for(arch)} {query.aws.pattern_for(arch)}"
        assert not re.search(r"\bami-[0-9a-f]{8}|[{}]", told)
        assert "*" in query.aws.pattern_for(arch)
    assert query.aws.username


@pytest.mark.parametrize("name", [name for name in CATALOG if not name.startswith("windows")])
def test_linux_comes_for_both_architectures(name: str) -> None:
    assert set(find_image(name).arches()) == {"x86_64", "arm64"}


@pytest.mark.parametrize(
    ("name", "arch", "parameter", "username"),
    [
        ("ubuntu-2404", "arm64", "ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id", "ubuntu"),
        ("ubuntu-2204", "x86_64", "ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id", "ubuntu"),
        ("debian-13", "x86_64", "debian/release/13/latest/amd64", "admin"),
        ("amazon-linux-2023", "arm64", "ami-amazon-linux-latest/al2023-ami-kernel-default-arm64", "ec2-user"),
    ],
)
def test_a_parameter_speaks_its_vendors_words(name: str, arch: str, parameter: str, username: str) -> None:
    query = find_image(name).aws
    assert query is not None
    assert query.parameter_for(arch).endswith(parameter)
    assert query.username == username


def test_compute_engine_has_a_family_for_each_architecture_it_offers() -> None:
    google = find_image("ubuntu-2404").google
    assert google is not None
    assert [google.family_for(arch) for arch in ("x86_64", "arm64")] == [
        "ubuntu-2404-lts-amd64",
        "ubuntu-2404-lts-arm64",
    ]
    assert find_image("amazon-linux-2023").google is None
