"""systemd's timers and cron's lines, as far as they say when something is run.

Sources: ``systemd.timer(5)``, ``systemd.time(7)``, ``systemd.service(5)``, ``crontab(5)``
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ACCURACY_S = 60.0
"""``AccuracySec=``'s default: a timer elapses up to that much later than it says."""
MINUTE_S = 60.0
UNIT_S = {
    **dict.fromkeys(("us", "usec"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
PREFIXES = "-@:+!|"
"""Before a command they change how it is run, and not what."""

Unit = Mapping[str, list[str]]
"""Values by ``Section.Key``."""

_PART = re.compile(r"([\d.]+)\s*([a-z]*)\s*")
_CRON_LINE = re.compile(r"(\*|\*/\d+|\d+)\s+\*\s+\*\s+\*\s+\*\s+\S+\s+(.+)")


@dataclass(frozen=True, slots=True)
class Timer:
    """Moments after which it elapses, in seconds."""

    after_boot: tuple[float, ...]
    after_start: tuple[float, ...]
    """After the timer's own start."""
    after_runs_start: tuple[float, ...]
    after_runs_end: tuple[float, ...]
    accuracy: float
    service: str

    def next_after(self, boot: float, start: float, run: tuple[float, float] | None) -> float | None:
        """When it elapses, given when it last ran its service; at once where that is past. ``None`` is never."""
        moments = [boot + each for each in self.after_boot] + [start + each for each in self.after_start]
        if run is not None:
            began, ended = run
            # Those elapse once each: the ones that came before the run are over.
            moments = [each for each in moments if each > began]
            moments += [began + each for each in self.after_runs_start]
            moments += [ended + each for each in self.after_runs_end]
        return min(moments, default=None)


def read_unit(text: str) -> Unit:
    """A unit file; what is no setting is passed over."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and line[0] not in "#;" and "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key.strip()}", []).append(value.strip())
    return found


def timer_of(name: str, unit: Unit) -> Timer:
    """The timer of that unit name."""

    def spans(*keys: str) -> tuple[float, ...]:
        given = (seconds(value) for key in keys for value in unit.get(f"Timer.{key}", []))
        return tuple(each for each in given if each is not None)

    return Timer(
        after_boot=spans("OnBootSec", "OnStartupSec"),
        after_start=spans("OnActiveSec"),
        after_runs_start=spans("OnUnitActiveSec"),
        after_runs_end=spans("OnUnitInactiveSec"),
        accuracy=next(iter(spans("AccuracySec")), ACCURACY_S),
        service=next(iter(unit.get("Timer.Unit", [])), f"{name.removesuffix('.timer')}.service"),
    )


def command_of(unit: Unit) -> list[str]:
    """The words that a service runs: one process, where it has one command. Raises ``ValueError``."""
    given = [each.lstrip(PREFIXES) for key in ("ExecStartPre", "ExecStart") for each in unit.get(f"Service.{key}", [])]
    settings = [each for line in unit.get("Service.Environment", []) for each in shlex.split(line)]
    words = shlex.split(given[0]) if len(given) == 1 else ["/bin/sh", "-c", " && ".join(given)]
    return [*(("/usr/bin/env", *settings) if settings else ()), *words] if given else []


def seconds(text: str) -> float | None:
    """A span of time, such as ``1min 30s``; ``None`` is none."""
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text) or any(unit not in UNIT_S for _, unit in parts):
        return None
    return sum(float(number) * UNIT_S[unit] for number, unit in parts)


def cron_commands(text: str, minute: int) -> Iterator[str]:
    """What a file of ``/etc/cron.d`` runs at that minute; lines of a certain hour or day are passed over."""
    for line in text.splitlines():
        match = _CRON_LINE.fullmatch(line.strip())
        if match and _is_due(match[1], minute):
            yield re.split(r"(?<!\\)%", match[2])[0].replace("\\%", "%")


def _is_due(when: str, minute: int) -> bool:
    if when == "*":
        return True
    if when.startswith("*/"):
        return minute % max(int(when[2:]), 1) == 0
    return minute % 60 == int(when)
