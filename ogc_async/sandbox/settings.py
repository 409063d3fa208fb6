"""How the pretend world behaves: every figure that a real cloud would decide, reproducible by a seed."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Choice = Literal["auto", "on", "off"]
TOKEN_HEADER = "X-Sandbox-Token"  # noqa: S105  # a header's name
TOKEN_VARIABLE = "SANDBOX_TOKEN"  # noqa: S105  # a variable's name
LETTERS = string.ascii_uppercase + string.digits


def draw_access_key() -> str:
    """One that no other sandbox has; like AWS's own in length, and unlike it in its first letters."""
    return "SANDBOX" + "".join(secrets.choice(LETTERS) for _ in range(13))


def draw_secret() -> str:
    """One that no other user of this computer can guess."""
    return secrets.token_urlsafe(30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """Times are seconds of the sandbox's clock, which runs ``time_scale`` times as fast as the real one."""

    host: str = "127.0.0.1"
    """Where the APIs are served."""
    port: int = 0
    """0 takes a free port."""
    network: str = "127.18.0.0/16"
    """Each running machine has an address of its own here; it must lie in 127.0.0.0/8."""
    ssh_port: int = 2222
    """All machines' SSH port: one that needs no privilege."""
    has_ssh: bool = True
    """Machines have SSH servers; without, their addresses are held and nobody answers: for thousands of them."""
    region: str = "us-east-2"
    """The region that ``env()`` names; others work as well."""
    zones: tuple[str, ...] = ("a", "b", "c")
    """A region's zones."""
    runs_user_data: bool = True
    """EC2's machines run theirs, as cloud-init does, below a folder of each one's own: files, scripts, timers."""
    has_systemd: bool = True
    """Machines have systemd, and no cron; without, it is the other way round."""
    enclosure: Choice = "auto"
    """Whether commands run inside bubblewrap: ``on`` refuses to start without, ``auto`` uses it where it works."""
    login_shell: str = "/bin/sh"
    """Every machine's login shell, a path or a name; a machine's own is its tag (label) ``sandbox-login-shell``."""
    admin_token: str = field(default_factory=draw_secret, repr=False)
    """What opens the admin pages; it is drawn, as all credentials are, so that no other user knows it."""
    access_key: str = field(default_factory=draw_access_key)
    secret_key: str = field(default_factory=draw_secret, repr=False)
    accounts: int = 1
    """Accounts of EC2 and projects of Compute Engine, each with credentials of its own; the first has these keys."""
    has_session_tokens: bool = False
    """EC2's keys are temporary ones: each call must bring their session token."""
    denied: frozenset[str] = frozenset()
    """Operations that the credentials may not call; ``OPERATION@2`` denies it to the second account alone."""
    google_project: str = "sandbox-project"
    """The project of the first account; further ones are called after it."""
    google_zone: str = "us-central1-a"
    """The zone that ``env()`` names; others work as well."""
    google_refresh_token: str = field(default_factory=draw_secret, repr=False)
    """What a user's login would hold."""
    has_compute: bool = True
    """Compute Engine's API is enabled in the project."""
    has_os_login: bool = False
    """OS Login is on in the project: machines ignore the keys in their metadata."""
    seed: int = 0
    time_scale: float = 1.0
    boot: tuple[float, float] = (0.5, 1.5)
    """From launch to running, drawn evenly between these two."""
    ssh_delay: tuple[float, float] = (0.0, 0.0)
    """From running to an SSH server that listens."""
    shutdown: float = 0.5
    """From the call to end a machine to its end."""
    latency: Mapping[str, float] = field(default_factory=dict)
    """Seconds a call by operation; ``*`` is every other one's."""
    has_limits: bool = True
    """EC2's published token buckets and Compute Engine's quotas a minute are kept."""
    concurrent_operations: int = 100_000
    """Compute Engine's operations of one type that may go on in a region at a time."""
    capacity: Mapping[str, int] = field(default_factory=dict)
    """Machines that a zone has room for; one that is not named has room for all."""
    quota: int = 100_000
    """Machines that the account may run in a region."""
    late_deaths: float = 0.0
    """Share of machines that end while they boot, for lack of capacity."""
    boot_errors: float = 0.0
    """Share of machines that end while they boot, for an error of the cloud's own."""
    reclaims: float = 0.0
    """Share of spot machines that the cloud takes back while they run."""
    reclaim_after: tuple[float, float] = (1.0, 10.0)
    """From running to that moment, drawn evenly between these two."""
    late_addresses: float = 0.0
    """From running to a public address."""
    has_public_addresses: bool = True
    """EC2's subnets give machines public addresses, unless a launch asks otherwise."""
    lag: float = 0.0
    """Until a new machine shows up in descriptions."""
    tag_lag: float = 0.0
    """Until a new machine's tags show up in descriptions, and filters by them find it."""
    slowness: tuple[float, float] = (0.0, 0.0)
    """Seconds that each call takes beyond its latency, drawn evenly between these two."""
    lost_replies: float = 0.0
    """Share of calls that take effect and whose reply never comes."""
    duplicates: float = 0.0
    """Share of calls that are carried out twice, as where a proxy repeats them; the second reply is the one heard."""
    throttling: Mapping[str, float] = field(default_factory=dict)
    """Share of calls by operation that are refused for their rate, as where others use the account too; ``*`` is every
    other one's."""
    outages: tuple[tuple[float, float], ...] = ()
    """Start and length of each time during which every call is refused as unavailable."""
    cuts: tuple[tuple[float, float], ...] = ()
    """Start and length of each time during which every call's connection breaks, and nothing takes effect."""
    faults: tuple[str, ...] = ()
    """``Operation=fault`` each, taken once, in order; ``Operation=fault:lasting`` from then on, after those.

    A fault is a word of :data:`ogc_async.sandbox.traffic.KINDS` or an error code. The operation ``*`` is any; with
    ``@2`` it is the second account's alone. ``Operation=well`` takes back what is planned for it, ``*=well``
    everything. ``outage=SECONDS`` and ``cut=SECONDS`` hold for every call from now on; after ``expire=SECONDS`` the
    first account's credentials are over, until ``expire=never``. To the machines themselves happen
    ``boot=internal-error``, ``boot=no-capacity``, ``boot=stop`` (the next one to boot, or ``:lasting``) and, now,
    ``spot-reclaim=ID``, ``shutdown=ID`` and ``reboot=ID`` (from inside); ``*`` is every machine.

    To what a machine's user data keeps going happen ``clock=ID:SECONDS`` (set forward, or back) and ``reboot-later=ID``
    (``shutdown -r +5``, in place of what was pending), now; and, from now on, also to machines to come where it is
    ``*``, ``broken-shutdown=ID`` (every polite way fails; ``poweroff -ff`` and sysrq do not), ``cancel-shutdown=ID``
    (somebody's ``shutdown -c`` each minute), ``clock-1970=ID`` (until four minutes after the first boot) and
    ``no-state=ID`` (a plain file is where the user data has a folder in /var/lib).
    """
    lies: tuple[str, ...] = ()
    """``Operation=kind`` each: a fault, by its word, that lasts from the start."""
