"""A machine's system while it runs: what cloud-init runs at a boot, timers, and how it is shut down from inside."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from collections.abc import Callable, Coroutine, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.enclosure import Cell
from ogc_async.sandbox.guest import standins
from ogc_async.sandbox.guest.files import PER_BOOT, REQUESTS, Files
from ogc_async.sandbox.guest.places import Places
from ogc_async.sandbox.guest.runs import Processes, Runs
from ogc_async.sandbox.guest.units import MINUTE_S, Timer, command_of, cron_commands, read_unit, timer_of
from ogc_async.sandbox.guest.userdata import UserData
from ogc_async.sandbox.traffic import BROKEN_SHUTDOWN, CANCEL_SHUTDOWN, CLOCK_1970, NO_STATE
from ogc_async.sandbox.view import PATH

log = logging.getLogger(__name__)

POWEROFF, REBOOT, HALT = "poweroff", "reboot", "halt"
SYSRQ = {"o": POWEROFF, "b": REBOOT}
"""https://docs.kernel.org/admin-guide/sysrq.html"""
HALT_TIMEOUT_S = 5.0
"""For threads whose processes have been ended."""
SET_AFTER_S = 240.0
"""A clock that begins in 1970 is set that long after the boot, when a time server has answered."""
REBOOT_LATER_MIN = 5
T = TypeVar("T")
UNITS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a machine's system stands on."""

    clock: Clock
    runs: Runs
    has_systemd: bool
    afflictions: Callable[[], Set[str]]
    """What is wrong with this machine for the time being."""


class Guest:
    """What of a machine's system outlives a boot: its files, its hardware clock, what was done once and for all."""

    def __init__(self, name: str, data: UserData, folder: Path, ground: Ground) -> None:
        self.data = data
        self.files = Files(folder)
        self.ground = ground
        self.rng = random.Random(f"guest {name}")  # noqa: S311  # reproducible, not secret
        self.clock_off_by = 0.0
        self.clock_late_by = 0.0
        """Of a clock that began in 1970, until a time server sets it."""
        self.is_prepared = False
        self.is_set_up = False
        self._boot: Boot | None = None

    async def boot(self, cell: Cell, power: Callable[[str], None]) -> Coroutine[None, None, None]:
        """Begin a boot, up to where users may log in; what comes back is the rest of it.

        ``power`` hears how the machine ends it from inside: ``poweroff``, ``reboot`` or ``halt``.
        """
        boot = self._boot = Boot(self, cell, power)
        await boot.begin()
        return boot.finish()

    async def halt(self) -> None:
        """End every process and timer; the files stay, and nothing writes there any more."""
        boot, self._boot = self._boot, None
        if boot is not None:
            await boot.halt()

    def tell_time(self) -> None:
        """Let the clocks show this moment."""
        if self._boot is not None:
            self._boot.tell_time()

    def wall(self) -> float:
        """What the machine's clock shows, in seconds since 1970."""
        clock = self.ground.clock
        return clock.moment(clock.now()).timestamp() + self.clock_off_by

    def shift(self, seconds: float) -> None:
        """Set the machine's clock forward, or back."""
        self.clock_off_by += seconds
        if self._boot is not None:
            self._boot.keep_schedule()

    def afflict(self) -> None:
        """Let what is wrong with it from now on show."""
        if self._boot is not None:
            self._boot.afflict()

    def reboot_later(self) -> None:
        """Somebody schedules a reboot, in place of what was scheduled."""
        if self._boot is not None:
            self._boot.schedule(REBOOT, REBOOT_LATER_MIN)


class Boot:
    """From one boot to its end."""

    def __init__(self, guest: Guest, cell: Cell, power: Callable[[str], None]) -> None:
        self._guest = guest
        self._ground = guest.ground
        self._files = guest.files
        self._cell = cell
        self._places: Places = cell.places
        self._power = power
        self._processes = Processes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._jobs: set[asyncio.Future[Any]] = set()
        self._scheduled: tuple[str, float] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._booted_at = self._ground.clock.now()
        self._requests = -1
        self._is_over = False

    async def begin(self) -> None:
        """Files, then ``bootcmd``. Raises ``OSError``."""
        guest = self._guest
        if CLOCK_1970 in self._ground.afflictions() and not guest.is_prepared:
            guest.clock_late_by = guest.wall()
            guest.shift(-guest.clock_late_by)
        if guest.clock_late_by:
            self._start(self._set_clock())
        await self._do(self._prepare)
        if self._is_over:
            return
        self._requests = os.open(self._files.kernel / REQUESTS, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._requests, self._hear)
        for name in self._files.enabled_timers() if self._ground.has_systemd else ():
            self._start_unit(name)
        self._start(self._each_minute())
        if guest.data.at_each_boot:
            await self._run_script("bootcmd", guest.data.at_each_boot)

    async def finish(self) -> None:
        """The scripts of each boot, then what is run once."""
        for name in await self._do(self._files.per_boot):
            await self._run([f"{self._places.root}/{PER_BOOT}/{name}"])
        if not self._guest.is_set_up and self._guest.data.at_first_boot:
            await self._run_script("runcmd", self._guest.data.at_first_boot)
        self._guest.is_set_up = self._guest.is_set_up or not self._is_over

    async def halt(self) -> None:
        """End it, and wait for what threads still do."""
        self._is_over = True
        self._processes.end()
        for task in tuple(self._tasks):
            task.cancel()
        if self._requests >= 0:
            asyncio.get_running_loop().remove_reader(self._requests)
            os.close(self._requests)
            self._requests = -1
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=HALT_TIMEOUT_S)

    def tell_time(self) -> None:
        """Let the clocks show this moment."""
        with suppress(OSError):
            self._files.tell_time(self._ground.clock.now() - self._booted_at, self._guest.wall())

    def afflict(self) -> None:
        """Let what is wrong with it from now on show."""
        wrong = self._ground.afflictions()
        self._files.flag(standins.BROKEN, is_set=BROKEN_SHUTDOWN in wrong)
        if NO_STATE in wrong:
            self._files.occupy(self._guest.data.state_folders())

    def schedule(self, kind: str, minutes: int) -> None:
        """One end is pending at a time: a later one replaces it, as logind has it."""
        self._scheduled = kind, self._guest.wall() + minutes * MINUTE_S
        self.keep_schedule()

    def keep_schedule(self) -> None:
        """Wait for what is scheduled, by the clock as it is now."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = None if self._scheduled is None else self._start(self._wait(*self._scheduled))

    async def _wait(self, kind: str, moment: float) -> None:
        await self._ground.clock.sleep(max(moment - self._guest.wall(), 0.0))
        self._scheduled = None
        if BROKEN_SHUTDOWN not in self._ground.afflictions():
            self._power(kind)

    async def _set_clock(self) -> None:
        await self._ground.clock.sleep(SET_AFTER_S)
        late_by, self._guest.clock_late_by = self._guest.clock_late_by, 0.0
        self._guest.shift(late_by)

    async def _each_minute(self) -> None:
        """Somebody's ``shutdown -c``, and cron."""
        await self._ground.clock.sleep(self._guest.rng.uniform(0, MINUTE_S))
        while True:
            if CANCEL_SHUTDOWN in self._ground.afflictions():
                self._cancel()
            if not self._ground.has_systemd:
                minute = int(self._guest.wall() // MINUTE_S)
                for text in self._files.crontabs():
                    for command in cron_commands(text, minute):
                        self._start(self._run_once_at_a_time(command, ["/bin/sh", "-c", command]))
            await self._ground.clock.sleep(MINUTE_S)

    def _prepare(self) -> None:
        """What a boot finds, in a thread."""
        guest, wrong = self._guest, self._ground.afflictions()
        if not guest.is_prepared:
            self._files.make(self._places)
            for each in guest.data.files:
                try:
                    self._files.write(each, self._places)
                except OSError as error:
                    log.warning("a machine's user data has a file that cannot be written: %s", error)
            guest.is_prepared = True
        boot_id = uuid.UUID(int=guest.rng.getrandbits(128), version=4)
        self._files.begin_boot(str(boot_id), {standins.SYSTEMD} if self._ground.has_systemd else ())
        self.tell_time()
        if wrong:
            self.afflict()

    def _hear(self) -> None:
        """What the machine's own programs ask for."""
        with suppress(BlockingIOError):
            for line in os.read(self._requests, 65536).decode(errors="replace").splitlines():
                self._obey(line.split())
                if self._is_over:
                    return

    def _obey(self, words: list[str]) -> None:
        match words:
            case [("poweroff" | "reboot" | "halt") as kind]:
                self._power(kind)
            case [key] if key in SYSRQ:
                self._power(SYSRQ[key])
            case ["schedule", ("poweroff" | "reboot" | "halt") as kind, minutes] if minutes.isdecimal():
                self.schedule(kind, int(minutes))
            case ["cancel"]:
                self._cancel()
            case ["start", unit]:
                self._start_unit(unit)
            case ["stop", unit] if unit in self._timers:
                self._timers.pop(unit).cancel()

    def _cancel(self) -> None:
        self._scheduled = None
        self.keep_schedule()

    def _start_unit(self, name: str) -> None:
        if name.endswith(".service"):
            self._start(self._run_service(name))
        elif name.endswith(".timer") and (name not in self._timers or self._timers[name].done()):
            self._timers[name] = self._start(self._keep_timer(name))

    async def _keep_timer(self, name: str) -> None:
        text = self._files.read(*(f"{place}/{name}" for place in UNITS))
        if text is None:
            return
        timer, clock = timer_of(name, read_unit(text)), self._ground.clock
        # Where in the accuracy's window it elapses is the machine's own, and stays.
        late, started_at = self._guest.rng.uniform(0, timer.accuracy), clock.now()
        run: tuple[float, float] | None = None
        while (moment := timer.next_after(self._booted_at, started_at, run)) is not None:
            await clock.sleep(max(moment + late - clock.now(), 0.0))
            run = await self._elapse(timer)

    async def _elapse(self, timer: Timer) -> tuple[float, float]:
        started_at = self._ground.clock.now()
        await self._run_service(timer.service)
        return started_at, self._ground.clock.now()

    async def _run_service(self, name: str) -> None:
        text = self._files.read(*(f"{place}/{name}" for place in UNITS))
        try:
            words = command_of(read_unit(text or ""))
        except ValueError:
            return
        if words:
            await self._run_once_at_a_time(name, words)

    async def _run_once_at_a_time(self, name: str, words: list[str]) -> None:
        if name in self._running:
            return
        self._running.add(name)
        try:
            await self._run(words)
        finally:
            self._running.discard(name)

    async def _run_script(self, name: str, text: str) -> None:
        """A script of cloud-init's, from its own folder."""
        if self._is_over:
            return
        path = self._files.kernel / name
        path.write_text(self._places.translate(text))
        path.chmod(0o755)
        await self._run([f"{self._places.kernel}/{name}"])

    async def _run(self, words: list[str]) -> None:
        places = self._places
        environment = {
            "PATH": f"{places.search_path}:{PATH}",
            "HOME": f"{places.root}/root",
            "LANG": "C.UTF-8",
            "USER": "root",
            "LOGNAME": "root",
            "SHELL": "/bin/sh",
        }
        command = self._cell.of_system(words)
        await self._do(lambda: self._processes.run(command, self._cell.system_folder, environment, self.tell_time))

    async def _do(self, work: Callable[[], T]) -> T:
        """In a thread, which goes on where this is cancelled: a halt waits for it."""
        job = asyncio.ensure_future(self._ground.runs.do(work))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await asyncio.shield(job)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a part of a machine's system broke off", exc_info=task.exception())
