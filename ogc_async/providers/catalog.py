"""What a spec's ``runs-on`` means in each cloud: a query that finds the newest image, never an image's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

AMD = {"x86_64": "amd64", "arm64": "arm64"}
"""Canonical and Debian call the architecture as their packages do; everybody else as the kernel does."""
GNU = {"x86_64": "x86_64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class AwsImage:
    """How EC2 finds an image: a public SSM parameter where the vendor keeps one, else owner and name pattern.

    ``{arch}`` stands for the vendor's word for the architecture. Names with one of ``excluding`` in them are not it.
    ``has_cloud_init`` says that it takes a ``#cloud-config``.
    """

    owner: str
    pattern: str
    username: str
    parameter: str = ""
    arches: tuple[tuple[str, str], ...] = tuple(GNU.items())
    excluding: tuple[str, ...] = ()
    has_cloud_init: bool = True

    def parameter_for(self, arch: str) -> str:
        """The SSM parameter that names the newest image, or "" where there is none."""
        return self.parameter.format(arch=dict(self.arches)[arch])

    def pattern_for(self, arch: str) -> str:
        """The name pattern, as ``DescribeImages`` takes it."""
        return self.pattern.format(arch=dict(self.arches)[arch])


@dataclass(frozen=True, slots=True)
class GoogleImage:
    """How Compute Engine finds an image: the newest of a family, which is named by project and architecture."""

    project: str
    family: str
    family_arm64: str = ""

    def family_for(self, arch: str) -> str:
        """The family of that architecture, or "" where there is none."""
        return self.family_arm64 if arch == "arm64" else self.family


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """One ``runs-on`` name: its image in each cloud, ``None`` where that cloud has none."""

    name: str
    aws: AwsImage | None
    google: GoogleImage | None = None

    def arches(self) -> tuple[str, ...]:
        """The architectures that EC2 has it for."""
        return tuple(arch for arch, _ in self.aws.arches) if self.aws else ()


class UnknownImage(LookupError):
    """No such ``runs-on`` name; the message tells the nearest ones."""


def find_image(runs_on: str) -> ImageQuery:
    """The query behind a ``runs-on`` name; dots, underscores and capitals do not matter (``Ubuntu-24.04``).

    Raises :class:`UnknownImage`.
    """
    name = _squeezed(runs_on)
    by_squeezed = {_squeezed(known): query for known, query in CATALOG.items()}
    if name in by_squeezed:
        return by_squeezed[name]
    near = get_close_matches(runs_on.lower(), CATALOG, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known names: {', '.join(CATALOG)}"
    raise UnknownImage(f"runs-on {runs_on!r} is not a known image: {hint}")


def has_cloud_init(runs_on: str) -> bool:
    """EC2's image of that name has it; of one that is named by its own id, or by an unknown name, nothing is known."""
    try:
        image = find_image(runs_on).aws
    except UnknownImage:
        return False
    return image is not None and image.has_cloud_init


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _ubuntu(release: str, codename: str, volume: str, google: GoogleImage) -> ImageQuery:
    return ImageQuery(
        f"ubuntu-{release.replace('.', '')}",
        AwsImage(
            owner="099720109477",
            pattern=f"ubuntu/images/*/ubuntu-{codename}-{release}-{{arch}}-server-20*",
            username="ubuntu",
            # Canonical publishes the gp3 images under this path from 24.04 on.
            parameter=f"/aws/service/canonical/ubuntu/server/{release}/stable/current/{{arch}}/hvm/ebs-{volume}/ami-id",
            arches=tuple(AMD.items()),
        ),
        google,
    )


def _debian(release: int, *, has_parameter: bool = True) -> ImageQuery:
    return ImageQuery(
        f"debian-{release}",
        AwsImage(
            owner="136693071363",
            pattern=f"debian-{release}-{{arch}}-*",
            username="admin",
            parameter=f"/aws/service/debian/release/{release}/latest/{{arch}}" if has_parameter else "",
            arches=tuple(AMD.items()),
            excluding=("-backports-", "daily"),
        ),
        GoogleImage("debian-cloud", f"debian-{release}", f"debian-{release}-arm64"),
    )


def _rhel(release: int) -> ImageQuery:
    return ImageQuery(
        f"rhel-{release}",
        AwsImage("309956199498", f"RHEL-{release}*_HVM-*-{{arch}}-*Hourly2-GP3", "ec2-user", excluding=("BETA",)),
        GoogleImage("rhel-cloud", f"rhel-{release}", f"rhel-{release}-arm64" if release >= 9 else ""),
    )


def _rocky(release: int) -> ImageQuery:
    names = (("x86_64", "x86_64"), ("arm64", "aarch64"))
    return ImageQuery(
        f"rocky-{release}",
        AwsImage("792107900819", f"Rocky-{release}-EC2-Base-*{{arch}}*", "rocky", arches=names),
        GoogleImage(
            "rocky-linux-cloud", f"rocky-linux-{release}", f"rocky-linux-{release}-arm64" if release >= 9 else ""
        ),
    )


def _windows(release: int) -> ImageQuery:
    return ImageQuery(
        f"windows-{release}",
        AwsImage(
            owner="amazon",
            pattern=f"Windows_Server-{release}-English-Full-Base-*",
            username="Administrator",
            parameter=f"/aws/service/ami-windows-latest/Windows_Server-{release}-English-Full-Base",
            arches=(("x86_64", "x86_64"),),
            has_cloud_init=False,
        ),
        GoogleImage("windows-cloud", f"windows-{release}"),
    )


_AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest"

_ENTRIES = (
    _ubuntu("24.04", "noble", "gp3", GoogleImage("ubuntu-os-cloud", "ubuntu-2404-lts-amd64", "ubuntu-2404-lts-arm64")),
    _ubuntu("22.04", "jammy", "gp2", GoogleImage("ubuntu-os-cloud", "ubuntu-2204-lts", "ubuntu-2204-lts-arm64")),
    _ubuntu("20.04", "focal", "gp2", GoogleImage("ubuntu-os-cloud", "ubuntu-2004-lts", "ubuntu-2004-lts-arm64")),
    _debian(13),
    _debian(12),
    _debian(11, has_parameter=False),
    ImageQuery(
        "amazon-linux-2023",
        AwsImage(
            owner="amazon",
            pattern="al2023-ami-2023.*-kernel-*-{arch}",
            username="ec2-user",
            parameter=f"{_AMAZON_LINUX}/al2023-ami-kernel-default-{{arch}}",
        ),
    ),
    ImageQuery(
        "amazon-linux-2",
        AwsImage(
            owner="amazon",
            pattern="amzn2-ami-hvm-2.0.*-{arch}-gp2",
            username="ec2-user",
            parameter=f"{_AMAZON_LINUX}/amzn2-ami-hvm-{{arch}}-gp2",
        ),
    ),
    _rhel(10),
    _rhel(9),
    _rhel(8),
    _rocky(10),
    _rocky(9),
    _rocky(8),
    ImageQuery(
        "almalinux-9",
        AwsImage("764336703387", "AlmaLinux OS 9*", "ec2-user"),
        GoogleImage("almalinux-cloud", "almalinux-9", "almalinux-9-arm64"),
    ),
    ImageQuery(
        "centos-stream-9",
        AwsImage("125523088429", "CentOS Stream 9*", "ec2-user"),
        GoogleImage("centos-cloud", "centos-stream-9", "centos-stream-9-arm64"),
    ),
    ImageQuery(
        "sles-15",
        AwsImage("013907871322", "suse-sles-15-sp*-v*-hvm-ssd-{arch}", "ec2-user"),
        GoogleImage("suse-cloud", "sles-15"),
    ),
    _windows(2025),
    _windows(2022),
)

CATALOG: Mapping[str, ImageQuery] = {query.name: query for query in _ENTRIES}
"""Every known ``runs-on`` name, in the order to show them."""
