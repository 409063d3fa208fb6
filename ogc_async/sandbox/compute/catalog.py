"""What the cloud offers: regions and zones, machine types, and the vendors' public images by family.

The ids are made up, and the same in every run; projects and families are as the vendors publish them.
Sources: https://cloud.google.com/compute/docs/regions-zones, https://cloud.google.com/compute/docs/images/os-details
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

REGIONS = {
    "us-central1": "abcf",
    "us-east1": "abc",
    "us-west1": "abc",
    "europe-west1": "abc",
    "asia-east1": "abc",
}
"""Each with its zones' letters."""
DATES = ("2026-07-14", "2026-09-08", "2026-10-20")
X86, ARM = "X86_64", "ARM64"


@dataclass(frozen=True, slots=True)
class MachineType:
    """A size."""

    name: str
    cpus: int
    memory_mb: int
    arch: str
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A public image."""

    project: str
    family: str
    name: str
    arch: str
    created: str
    disk_gb: int
    is_windows: bool

    @property
    def path(self) -> str:
        """Below ``/compute/v1/``."""
        return f"projects/{self.project}/global/images/{self.name}"

    @property
    def is_deprecated(self) -> bool:
        """A newer one of the family is there."""
        return self.created != DATES[-1]


def zones_of(region: str) -> list[str]:
    """A region's zones."""
    return [f"{region}-{letter}" for letter in REGIONS[region]]


def region_of(zone: str) -> str:
    """The region that a zone's name tells, whether or not there is such a zone."""
    return zone.rpartition("-")[0]


def is_zone(name: str) -> bool:
    """There is a zone of that name."""
    region, _, letter = name.rpartition("-")
    return len(letter) == 1 and letter in REGIONS.get(region, "")


def number_of(path: str) -> str:
    """A resource's number, the same in every run."""
    return str(int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1)


@lru_cache
def machine_types() -> dict[str, MachineType]:
    """Every size, by name; every zone has all of them."""
    return {each.name: each for each in _machine_types()}


@lru_cache
def images(project: str) -> dict[str, Image]:
    """A vendor's images, by name; none where the project is no vendor's."""
    return {each.name: each for each in _images() if each.project == project}


def newest(project: str, family: str) -> Image | None:
    """The family's newest image."""
    of_family = (each for each in images(project).values() if each.family == family and not each.is_deprecated)
    return next(of_family, None)


def find_image(project: str, tail: str) -> Image | None:
    """By ``family/NAME`` or by name."""
    family = tail.removeprefix("family/")
    return newest(project, family) if family != tail else images(project).get(tail)


def _machine_types() -> Iterator[MachineType]:
    for name, memory in (("e2-micro", 1024), ("e2-small", 2048), ("e2-medium", 4096)):
        yield MachineType(name, 2, memory, X86, is_shared=True)
    for name, memory in (("f1-micro", 614), ("g1-small", 1740)):
        yield MachineType(name, 1, memory, X86, is_shared=True)
    for series, arch, sizes, memories in SERIES:
        for kind, each_mb in zip(("highcpu", "standard", "highmem"), memories, strict=True):
            for cpus in sizes if each_mb else ():
                yield MachineType(f"{series}-{kind}-{cpus}", cpus, int(cpus * each_mb), arch)


SERIES: tuple[tuple[str, str, tuple[int, ...], tuple[float, float, float]], ...] = (
    ("e2", X86, (2, 4, 8, 16, 32), (1024, 4096, 8192)),
    ("n1", X86, (1, 2, 4, 8, 16, 32, 64, 96), (921.6, 3840, 6656)),
    ("n2", X86, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128), (1024, 4096, 8192)),
    ("t2a", ARM, (1, 2, 4, 8, 16, 32, 48), (0, 4096, 0)),
    ("c4a", ARM, (1, 2, 4, 8, 16, 32, 48, 64, 72), (2048, 4096, 8192)),
)


def _images() -> Iterator[Image]:
    for project, family, stem, arch, size in _families():
        for created in DATES:
            name = f"{stem}-v{created.replace('-', '')}"
            yield Image(project, family, name, arch, created, size, is_windows=project == "windows-cloud")


def _families() -> Iterator[tuple[str, str, str, str, int]]:
    for number, codename in ((11, "bullseye"), (12, "bookworm"), (13, "trixie")):
        yield "debian-cloud", f"debian-{number}", f"debian-{number}-{codename}", X86, 10
        yield "debian-cloud", f"debian-{number}-arm64", f"debian-{number}-{codename}-arm64", ARM, 10
    for release, codename in (("2004", "focal"), ("2204", "jammy"), ("2404", "noble"), ("2604", "resolute")):
        # The architecture is in the family's name from 24.04 on.
        amd = f"ubuntu-{release}-lts" if release < "2404" else f"ubuntu-{release}-lts-amd64"
        yield "ubuntu-os-cloud", amd, f"ubuntu-{release}-{codename}{'' if release < '2404' else '-amd64'}", X86, 10
        yield "ubuntu-os-cloud", f"ubuntu-{release}-lts-arm64", f"ubuntu-{release}-{codename}-arm64", ARM, 10
    for project, stem, numbers in (
        ("rhel-cloud", "rhel", (8, 9, 10)),
        ("rocky-linux-cloud", "rocky-linux", (8, 9, 10)),
        ("almalinux-cloud", "almalinux", (8, 9, 10)),
        ("centos-cloud", "centos-stream", (9, 10)),
    ):
        for number in numbers:
            yield project, f"{stem}-{number}", f"{stem}-{number}", X86, 20
            if number >= 9:
                yield project, f"{stem}-{number}-arm64", f"{stem}-{number}-arm64", ARM, 20
    yield "suse-cloud", "sles-12", "sles-12-sp5-x86-64", X86, 10
    yield "suse-cloud", "sles-15", "sles-15-sp7-x86-64", X86, 10
    for year in (2016, 2019, 2022, 2025):
        yield "windows-cloud", f"windows-{year}", f"windows-server-{year}-dc", X86, 50
        yield "windows-cloud", f"windows-{year}-core", f"windows-server-{year}-dc-core", X86, 50
