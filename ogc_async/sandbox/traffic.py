"""What the APIs are asked, how long they take to answer, and what goes wrong on the way."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.settings import SandboxSettings

LOST_REPLY = "lost-reply"
UNAVAILABLE = "unavailable"
THROTTLED = "throttled"
TWICE = "twice"
CUT = "cut"
HTML = "html"
HTML_BEFORE = "html-before"
REDIRECT = "redirect"
OTHER_KIND = "other-kind"
EMPTY = "empty"
TRUNCATED = "truncated"
ERROR_BEFORE = "error-before"
ERROR_AFTER = "error-after"
UNAUTHENTICATED = "unauthenticated"
DENIED = "denied"
EXPIRED = "expired"
MISSING = "missing"
PRECONDITION = "precondition"
OTHER_ACCOUNT = "other-account"

LOSSES = frozenset({LOST_REPLY, CUT})
"""No reply comes."""
LIES = frozenset({HTML, HTML_BEFORE, REDIRECT, OTHER_KIND, EMPTY, TRUNCATED})
"""A reply comes that is not the operation's, or not the whole of it; its status is no refusal."""
REFUSALS = frozenset(
    {
        *(UNAVAILABLE, THROTTLED, ERROR_BEFORE, ERROR_AFTER),
        *(UNAUTHENTICATED, DENIED, EXPIRED, MISSING, PRECONDITION),
    }
)
"""Each in its cloud's own shape, under its cloud's own code."""
EFFECTIVE = frozenset({LOST_REPLY, TWICE, HTML, OTHER_KIND, EMPTY, TRUNCATED, ERROR_AFTER, OTHER_ACCOUNT})
"""The call takes effect, whatever its reply says; with ``other-account``, in an account that is not the caller's."""
KINDS = LOSSES | LIES | REFUSALS | EFFECTIVE
"""Every fault that has a word; any other is an error code of the cloud."""

WELL = "well"
LASTING = ":lasting"
EXPIRE = "expire"
NEVER = "never"
OUTAGES = {"outage": UNAVAILABLE, "cut": CUT}
"""What every call meets during an outage: a refusal for the time being, or a connection that breaks off unheard."""
BOOT, SPOT_RECLAIM, SHUTDOWN = "boot", "spot-reclaim", "shutdown"
CLOCK, REBOOT, REBOOT_LATER = "clock", "reboot", "reboot-later"
BROKEN_SHUTDOWN, CANCEL_SHUTDOWN, CLOCK_1970, NO_STATE = "broken-shutdown", "cancel-shutdown", "clock-1970", "no-state"
BLOWS = frozenset({SPOT_RECLAIM, SHUTDOWN, CLOCK, REBOOT, REBOOT_LATER})
"""What happens to machines now."""
AFFLICTIONS = frozenset({BROKEN_SHUTDOWN, CANCEL_SHUTDOWN, CLOCK_1970, NO_STATE})
"""What is wrong with machines from now on, also with those to come where it is every one's."""
EVENTS = frozenset({BOOT}) | BLOWS | AFFLICTIONS
"""What happens to machines, and to no call."""
INTERNAL_ERROR, NO_CAPACITY, STOP = "internal-error", "no-capacity", "stop"
BOOT_ENDS = (INTERNAL_ERROR, NO_CAPACITY, STOP)
"""How a boot may end but well."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with an operation: once, or from now on."""

    operation: str
    """A name, ``*`` for any, either with ``@2`` for the calls of the second account alone."""
    kind: str
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class Outage:
    """A time during which every call meets the same fault."""

    begins: float
    ends: float
    fault: str


class Plan:
    """Faults that are yet to come: in order, once each; and those that last."""

    def __init__(self) -> None:
        self._once: list[Fault] = []
        self._lasting: dict[str, str] = {}

    def add(self, fault: Fault) -> None:
        """Plan it; ``well`` takes back what is planned under its operation's name, and everything under ``*``."""
        if fault.kind == WELL:
            self._clear(fault.operation)
        elif fault.is_lasting:
            self._lasting[fault.operation] = fault.kind
        else:
            self._once.append(fault)

    def take(self, *names: str) -> str:
        """The first fault under one of these names, or ""; those that last come after those that do not."""
        found = next((each for each in self._once if each.operation in names), None)
        if found is not None:
            self._once.remove(found)
            return found.kind
        return next((self._lasting[name] for name in names if name in self._lasting), "")

    def _clear(self, operation: str) -> None:
        is_meant = {operation}.__contains__ if operation != "*" else lambda _: True
        self._once = [each for each in self._once if not is_meant(each.operation)]
        self._lasting = {name: kind for name, kind in self._lasting.items() if not is_meant(name)}


class Traffic:
    """One cloud's calls: counted, delayed, and spoiled as the settings say."""

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        self._latency = dict(settings.latency)
        self._slowness = settings.slowness
        self._shares = ((LOST_REPLY, settings.lost_replies), (TWICE, settings.duplicates))
        self._throttling = dict(settings.throttling)
        self._clock = clock
        self._rng = random.Random(f"{settings.seed} traffic")  # noqa: S311  # reproducible, not secret
        self._pace = random.Random(f"{settings.seed} pace")  # noqa: S311  # of its own: it shifts no fault
        self._plan = Plan()
        self._expires_at = math.inf
        self._outages = [
            *(Outage(start, start + lasts, UNAVAILABLE) for start, lasts in settings.outages),
            *(Outage(start, start + lasts, CUT) for start, lasts in settings.cuts),
        ]
        self._calls: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._spoiled: Counter[str] = Counter()
        self.add_faults((*settings.faults, *lasting(settings.lies)))

    def add_faults(self, faults: Iterable[str]) -> None:
        """Plan faults: ``Operation=fault``, taken once, or with ``:lasting``, each call of it from now on.

        ``Operation=well`` takes back what is planned for it and lasts, ``*=well`` everything. ``outage=SECONDS`` and
        ``cut=SECONDS`` hold for every call from now on. After ``expire=SECONDS`` the first account's credentials are
        over; ``expire=never`` renews them. Raises ``ValueError`` for what is none of these, and plans nothing then.
        """
        parsed = read_faults(faults)
        now = self._clock.now()
        for each in parsed:
            if each.operation == EXPIRE:
                self._expires_at = now + _seconds(each)
            elif each.operation in OUTAGES:
                self._outages.append(Outage(now, now + _seconds(each), OUTAGES[each.operation]))
            elif each.operation not in EVENTS:
                self._plan.add(each)
                if (each.operation, each.kind) == ("*", WELL):
                    self._outages.clear()
                    self._expires_at = math.inf

    def next_fault(self, operation: str, account: int = 1) -> str:
        """What goes wrong with this account's call, or ""."""
        fault = self._planned(operation, account) or self._drawn(operation)
        if fault:
            self._spoiled[fault] += 1
        return fault

    def is_expired(self, account: int = 1) -> bool:
        """This account's credentials are over."""
        return account == 1 and self._clock.now() >= self._expires_at

    async def travel(self, operation: str) -> None:
        """One of a call's two ways: half its latency each, so that a caller may die before or after the effect."""
        latency = self._latency.get(operation, self._latency.get("*", 0.0))
        if self._slowness[1]:
            latency += self._pace.uniform(*self._slowness)
        if latency:
            await self._clock.sleep(latency / 2)

    def count(self, operation: str) -> None:
        """A call has come."""
        self._calls[operation] += 1

    def count_refused(self, operation: str) -> None:
        """It was refused."""
        self._refused[operation] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """Calls and refusals by operation."""
        return {name: {"calls": calls, "refused": self._refused[name]} for name, calls in self._calls.items()}

    def faults(self) -> dict[str, int]:
        """How many calls met each fault."""
        return dict(self._spoiled)

    def _planned(self, operation: str, account: int) -> str:
        now = self._clock.now()
        outage = next((each.fault for each in self._outages if each.begins <= now < each.ends), "")
        return self._plan.take(*names_of(operation, account)) or outage

    def _drawn(self, operation: str) -> str:
        """One roll a call, whatever the shares are: the same seed spoils the same calls."""
        roll = self._rng.random()
        throttling = self._throttling.get(operation, self._throttling.get("*", 0.0))
        for fault, share in (*self._shares, (THROTTLED, throttling)):
            if roll < share:
                return fault
            roll -= share
        return ""


def read_faults(faults: Iterable[str]) -> list[Fault]:
    """``Operation=fault`` each, ``:lasting`` or not. Raises ``ValueError``."""
    return [_read(each) for each in faults]


def lasting(lies: Iterable[str]) -> list[str]:
    """``OPERATION=KIND`` each, as faults that last. Raises ``ValueError`` for a kind that has no word."""
    for each in lies:
        _, _, kind = each.partition("=")
        if kind not in KINDS:
            raise ValueError(f"{each!r} is not OPERATION=KIND: the kinds are {', '.join(sorted(KINDS))}")
    return [f"{each}{LASTING}" for each in lies]


def names_of(operation: str, account: int) -> tuple[str, ...]:
    """Under which names faults and denials of this account's call are planned, the closest first."""
    return f"{operation}@{account}", operation, f"*@{account}", "*"


def _read(text: str) -> Fault:
    operation, separator, kind = text.partition("=")
    fault = Fault(operation, kind.removesuffix(LASTING), kind.endswith(LASTING))
    if not (operation and separator and fault.kind):
        raise ValueError(f"{text!r} is not Operation=fault")
    if operation in (*OUTAGES, EXPIRE):
        _seconds(fault)
    if operation == BOOT and fault.kind not in (*BOOT_ENDS, WELL):
        raise ValueError(f"{text!r} is none of {', '.join(f'{BOOT}={end}' for end in BOOT_ENDS)}")
    if operation == CLOCK:
        shift_of(fault)
    return fault


def shift_of(fault: Fault) -> tuple[str, float]:
    """Whose clock is set forward or back, and by how many seconds. Raises ``ValueError``."""
    target, _, seconds = fault.kind.rpartition(":")
    if not (target and math.isfinite(float(seconds))):
        raise ValueError(f"{CLOCK}={fault.kind} is not {CLOCK}=ID:SECONDS")
    return target, float(seconds)


def _seconds(fault: Fault) -> float:
    return math.inf if (fault.operation, fault.kind) == (EXPIRE, NEVER) else float(fault.kind)
