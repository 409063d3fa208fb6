"""What a region offers: zones, machine types, public images and the parameters that name the newest of them.

The ids are made up, and the same in every run; names, owners and parameter paths are as the vendors publish them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

NOT_REQUIRED, OPTED_IN, NOT_OPTED_IN = "opt-in-not-required", "opted-in", "not-opted-in"
REGIONS = {
    **dict.fromkeys(("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"), NOT_REQUIRED),
    **dict.fromkeys(("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3"), NOT_REQUIRED),
    **dict.fromkeys(("ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1"), NOT_REQUIRED),
    **dict.fromkeys(("ap-southeast-1", "ap-southeast-2"), NOT_REQUIRED),
    **dict.fromkeys(("eu-south-1",), OPTED_IN),
    **dict.fromkeys(("af-south-1", "ap-east-1", "ap-southeast-3", "eu-central-2", "eu-south-2"), NOT_OPTED_IN),
    **dict.fromkeys(("il-central-1", "me-central-1", "me-south-1"), NOT_OPTED_IN),
}
"""The account's opt-in status by region: https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html;
here every account has opted in to one."""
X86_FAMILIES = frozenset("t2 t3 t3a m5 m6i m7i m7a c5 c6i c7i c7a r5 r6i r7i".split())  # noqa: SIM905
ARM_FAMILIES = frozenset("t4g m6g m7g m8g c6g c7g c8g r6g r7g r8g".split())  # noqa: SIM905
SIZES = frozenset("nano micro small medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge".split())  # noqa: SIM905

CANONICAL, DEBIAN, AMAZON, MICROSOFT = "099720109477", "136693071363", "137112412989", "801119661308"
REDHAT, ROCKY, ALMA, CENTOS, SUSE = "309956199498", "792107900819", "764336703387", "125523088429", "013907871322"
ALIASES = {AMAZON: "amazon", MICROSOFT: "amazon"}
DATES = ("2026-07-14", "2026-09-08", "2026-10-20")
ARCHES = ("x86_64", "arm64")
ROOT_GIB, DATA_GIB = 8, 4


@dataclass(frozen=True, slots=True)
class Device:
    """One disk of an image's block device mapping."""

    name: str
    size_gib: int
    is_deleted: bool = True
    """It ends with its instance."""
    kind: str = "gp3"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: a public one, or an account's own."""

    id: str
    name: str
    owner: str
    arch: str
    created: str
    devices: tuple[Device, ...]
    """The root device first."""
    is_windows: bool = False
    is_public: bool = True

    @property
    def root_device(self) -> str:
        """Its name."""
        return self.devices[0].name

    @property
    def creation_date(self) -> str:
        """As EC2 writes it."""
        return f"{self.created}T06:30:00.000Z"


def snapshot_of(image: Image, device: Device) -> str:
    """The snapshot that the image's disk is made of."""
    return f"snap-{hashlib.sha256(f'{image.id} {device.name}'.encode()).hexdigest()[:17]}"


def arch_of(instance_type: str) -> str | None:
    """The architecture of a machine type, or ``None`` where there is no such type."""
    family, _, size = instance_type.partition(".")
    if size not in SIZES:
        return None
    if family in X86_FAMILIES:
        return "x86_64"
    return "arm64" if family in ARM_FAMILIES else None


def is_served(name: str) -> bool:
    """EC2 has a region of that name, and the account may use it."""
    return REGIONS.get(name, NOT_OPTED_IN) != NOT_OPTED_IN


@lru_cache
def images(region: str) -> dict[str, Image]:
    """The images of a region, by id."""
    return {image.id: image for image in _images(region)}


@lru_cache
def own_images(region: str, account: str) -> dict[str, Image]:
    """The account's own images in a region, by id: such as leave disks behind."""
    return {image.id: image for image in _own_images(region, account)}


@lru_cache
def parameters(region: str) -> dict[str, str]:
    """The public SSM parameters that name an image, with its id."""
    newest = {image.name: image.id for image in images(region).values()}
    return {path: newest[name] for path, name in _parameters()}


def _images(region: str) -> Iterator[Image]:
    for name, owner, arch, created in _names():
        root = Device("/dev/xvda" if owner in (AMAZON, DEBIAN) else "/dev/sda1", ROOT_GIB)
        yield Image(_image_id(region, name), name, owner, arch, created, (root,), is_windows=owner == MICROSOFT)


def _own_images(region: str, account: str) -> Iterator[Image]:
    root, data = Device("/dev/sda1", ROOT_GIB), Device("/dev/sdf", DATA_GIB, is_deleted=False)
    kinds = {"two-disks": (root, data), "keeps-disks": (replace(root, is_deleted=False), data)}
    for kind, devices in kinds.items():
        for arch in ARCHES:
            name = f"golden-{kind}-{arch}"
            image_id = _image_id(region, f"{account} {name}")
            yield Image(image_id, name, account, arch, DATES[-1], devices, is_public=False)


def _image_id(region: str, name: str) -> str:
    return f"ami-{hashlib.sha256(f'{region} {name}'.encode()).hexdigest()[:17]}"


def _names() -> Iterator[tuple[str, str, str, str]]:
    for created in DATES:
        for arch in ARCHES:
            for name, owner in _vendor_names(created, created.replace("-", ""), arch):
                yield name, owner, arch, created
        for release in (2022, 2025):
            yield (
                f"Windows_Server-{release}-English-Full-Base-{created.replace('-', '.')}",
                MICROSOFT,
                "x86_64",
                created,
            )


def _vendor_names(created: str, day: str, arch: str) -> Iterator[tuple[str, str]]:
    dpkg = {"x86_64": "amd64", "arm64": "arm64"}[arch]
    for codename, release, volume in UBUNTU:
        yield f"ubuntu/images/hvm-{volume}/ubuntu-{codename}-{release}-{dpkg}-server-{day}", CANONICAL
        yield f"ubuntu/images-testing/hvm-{volume}/ubuntu-{codename}-daily-{dpkg}-server-{day}", CANONICAL
    for number in (11, 12, 13):
        yield f"debian-{number}-{dpkg}-{day}-2266", DEBIAN
        yield f"debian-{number}-backports-{dpkg}-{day}-2266", DEBIAN
    yield f"al2023-ami-2023.9.{day}.0-kernel-6.1-{arch}", AMAZON
    yield f"al2023-ami-minimal-2023.9.{day}.0-kernel-6.1-{arch}", AMAZON
    yield f"amzn2-ami-hvm-2.0.{day}.0-{arch}-gp2", AMAZON
    for number in (8, 9, 10):
        yield f"RHEL-{number}.6.0_HVM-{day}-{arch}-0-Hourly2-GP3", REDHAT
        yield f"RHEL-{number}.7.0_HVM_BETA-{day}-{arch}-0-Hourly2-GP3", REDHAT
        yield f"Rocky-{number}-EC2-Base-{number}.6-{day}.0.{'aarch64' if arch == 'arm64' else arch}", ROCKY
    yield f"AlmaLinux OS 9.6.{day} {arch}", ALMA
    yield f"CentOS Stream 9 {arch} {day}", CENTOS
    yield f"suse-sles-15-sp7-v{day}-hvm-ssd-{arch}", SUSE


UBUNTU = (("noble", "24.04", "ssd-gp3"), ("jammy", "22.04", "ssd"), ("focal", "20.04", "ssd"))


def _parameters() -> Iterator[tuple[str, str]]:
    day = DATES[-1].replace("-", "")
    for arch in ARCHES:
        dpkg = {"x86_64": "amd64", "arm64": "arm64"}[arch]
        for codename, release, volume in UBUNTU:
            disk = "gp3" if volume.endswith("gp3") else "gp2"
            path = f"/aws/service/canonical/ubuntu/server/{release}/stable/current/{dpkg}/hvm/ebs-{disk}/ami-id"
            yield path, f"ubuntu/images/hvm-{volume}/ubuntu-{codename}-{release}-{dpkg}-server-{day}"
        for number in (12, 13):
            yield f"/aws/service/debian/release/{number}/latest/{dpkg}", f"debian-{number}-{dpkg}-{day}-2266"
        amazon = "/aws/service/ami-amazon-linux-latest"
        yield f"{amazon}/al2023-ami-kernel-default-{arch}", f"al2023-ami-2023.9.{day}.0-kernel-6.1-{arch}"
        yield f"{amazon}/amzn2-ami-hvm-{arch}-gp2", f"amzn2-ami-hvm-2.0.{day}.0-{arch}-gp2"
    for year in (2022, 2025):
        dotted = DATES[-1].replace("-", ".")
        path = f"/aws/service/ami-windows-latest/Windows_Server-{year}-English-Full-Base"
        yield path, f"Windows_Server-{year}-English-Full-Base-{dotted}"


AMI_ID = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")
