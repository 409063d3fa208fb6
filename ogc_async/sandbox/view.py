"""What is to be seen of this computer from inside a machine: its programs, and nothing that belongs to a user of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_ID = 1000
MACHINE = "/machine"
"""Where a machine has its own root, beside this computer's programs."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
ETC = (
    "alternatives",
    "ca-certificates",
    "fonts",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
"""Public on every computer; what holds secrets (``shadow``, ``ssl/private``) has no place here."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in to a machine."""

    user: str
    shell: str


def view_of(folder: Path, user_id: int = USER_ID) -> list[str]:
    """bubblewrap's options for a machine whose files are in ``folder``.

    The user in there is neither this one nor root by number, and ``--dev`` is not used: it makes a second user
    namespace, in which a command could not enter the first one's mounts any more.
    """
    return [
        *("--unshare-all", "--share-net", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--uid", str(user_id), "--gid", str(user_id)),
        *(word for path in SYSTEM for word in _shown(Path(path))),
        *(word for name in ETC for word in _bound(Path("/etc") / name)),
        *("--ro-bind", str(folder / "etc/passwd"), "/etc/passwd", "--ro-bind", str(folder / "etc/group"), "/etc/group"),
        *("--proc", "/proc", "--dir", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/run", "--tmpfs", "/var/tmp"),  # noqa: S108
        *(word for name in DEVICES for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *(word for name, leads_to in LINKS.items() for word in ("--symlink", leads_to, f"/dev/{name}")),
        *("--bind", str(folder / "home"), "/home", "--bind", str(folder / "tmp"), "/tmp"),  # noqa: S108
        *_system(folder),
        *("--remount-ro", "/"),
    ]


def _system(folder: Path) -> list[str]:
    """A machine's own root, which its commands change; what the sandbox tells it, and its programs, which stay."""
    if not (folder / "root").is_dir():
        return []
    binds = (("--bind", "root"), ("--ro-bind", "kernel"), ("--ro-bind", "programs"))
    return [word for how, name in binds for word in (how, str(folder / name), f"{MACHINE}/{name}")]


def write_accounts(folder: Path, accounts: Iterable[Account]) -> None:
    """The machine's users, all of one number: in place, since the files are bound where the machine sees them."""
    users = [f"{each.user}:x:{USER_ID}:{USER_ID}::/home/{each.user}:{each.shell}" for each in accounts]
    names = [each.partition(":")[0] for each in users]
    (folder / "etc/passwd").write_text("\n".join((*users, "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin", "")))
    (folder / "etc/group").write_text("\n".join((*(f"{name}:x:{USER_ID}:" for name in names), "nogroup:x:65534:", "")))


def _shown(path: Path) -> list[str]:
    """A folder of programs, or the link that leads to one."""
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return _bound(path)


def _bound(path: Path) -> list[str]:
    """A link is bound as what it leads to."""
    return ["--ro-bind", str(path), str(path)] if path.exists() else []
