"""The pretend machine room: machines of any cloud, from launch to end, each with a real host while it runs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import asyncssh

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.fates import Blow, Fates
from ogc_async.sandbox.guest.runs import Runs
from ogc_async.sandbox.guest.system import HALT, REBOOT, Ground, Guest
from ogc_async.sandbox.guest.userdata import UserData
from ogc_async.sandbox.hosts import AddressesTaken, Host, Hosts, Login
from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import CLOCK, REBOOT_LATER, SHUTDOWN, SPOT_RECLAIM, STOP, read_faults
from ogc_async.sandbox.traffic import INTERNAL_ERROR as FATAL_ERROR

log = logging.getLogger(__name__)

NO_CAPACITY = ("Server.InsufficientInstanceCapacity", "Insufficient capacity to satisfy instance request")
LOGIN_SHELL = "sandbox-login-shell"
"""The tag, or label, that names a machine's own login shell."""
INTERNAL_ERROR = "Server.InternalError"
BOOT_ERROR = (INTERNAL_ERROR, "Internal error on launch")
ENDED_BY_USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
SHUT_DOWN_INSIDE = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
STOPPED_BY_CLOUD = ("Server.ScheduledStop", "Stopped due to scheduled retirement")
RECLAIMED = ("Server.SpotInstanceTermination", "Spot instance termination")


class State(StrEnum):
    """A machine's states."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    """One machine. Times are the sandbox clock's."""

    id: str
    provider: str
    region: str
    zone: str
    type: str
    image: str
    logins: tuple[Login, ...]
    private_ip: str
    launched_at: float
    boot_s: float
    host_key: asyncssh.SSHKey | None = field(default=None, repr=False)
    tags: dict[str, str] = field(default_factory=dict)
    user_data: UserData | None = field(default=None, repr=False)
    """What its system runs; ``None`` is nothing."""
    state: State = State.PENDING
    reason: tuple[str, str] | None = None
    """Why it is not what it was, and ``reason_at``, since when."""
    reason_at: float = 0.0
    address: str | None = None
    is_protected: bool = False
    is_doomed: bool = False
    is_spot: bool = False
    take_back: Callable[[], None] | None = field(default=None, repr=False)
    """What its cloud does with a spot machine that it wants back; without, it ends it."""
    has_public_address: bool = True
    is_ended_by_shutdown: bool = False
    """A shutdown from inside is its end; else it stops."""
    running_at: float | None = None
    ssh_open_at: float | None = None
    stopped_at: float | None = None
    ended_at: float | None = None
    boots: int = 0
    """How often it has begun to boot: a boot that was broken off knows by this that it was."""
    boots_since: float = 0.0
    host: Host | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Its boot is over, one way or the other."""
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """It has stopped, or ended instead."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """It has ended."""

    @property
    def is_living(self) -> bool:
        """It takes up room."""
        return self.state in (State.PENDING, State.RUNNING)

    @property
    def guest(self) -> Guest | None:
        """Its system, where that runs what it was told."""
        return self.host.guest if self.host is not None else None

    @property
    def is_kept(self) -> bool:
        """It is there, running or not, and nobody has asked for its end."""
        return self.state not in (State.ENDING, State.ENDED)

    def tags_at(self, now: float, lag: float) -> dict[str, str]:
        """What descriptions show of its tags: none while it is too young."""
        return self.tags if now >= self.launched_at + lag else {}


class MachineRoom:
    """Holds every machine that there ever was, and moves each through its life in a task of its own."""

    def __init__(self, settings: SandboxSettings, clock: Clock, hosts: Hosts) -> None:
        self._settings = settings
        self._clock = clock
        self._hosts = hosts
        self._machines: dict[str, Machine] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self.rng = random.Random(settings.seed)  # noqa: S311  # reproducible, not secret
        self._numbers = 0
        self._fates = Fates(settings)
        self._runs = Runs()
        self.add_faults(settings.faults)

    def __iter__(self) -> Iterator[Machine]:
        return iter(tuple(self._machines.values()))

    def get(self, machine_id: str) -> Machine | None:
        """The machine with that id."""
        return self._machines.get(machine_id)

    def free_in(self, zone: str) -> int:
        """How many more machines the zone has room for."""
        room = self._settings.capacity.get(zone)
        if room is None:
            return self._settings.quota
        return max(room - sum(each.zone == zone and each.is_living for each in self), 0)

    def living_in(self, region: str) -> int:
        """How many machines of the region count against the quota."""
        return sum(each.region == region and each.is_living for each in self)

    def launch(self, machine: Machine) -> None:
        """Take the machine in and let it boot."""
        self._machines[machine.id] = machine
        machine.is_doomed = self.rng.random() < self._settings.late_deaths
        self._begin_boot(machine)

    def draw_boot_s(self) -> float:
        """How long the next machine takes to boot."""
        return self.rng.uniform(*self._settings.boot)

    def next_private_ip(self, network: str = "172.31") -> str:
        """An address inside the default network."""
        self._numbers += 1
        high, low = divmod(self._numbers + 3, 256)
        return f"{network}.{high % 256}.{low}"

    def end(self, machines: Iterable[Machine], reason: tuple[str, str] = ENDED_BY_USER) -> None:
        """Begin to end these machines; those that end already go on doing so."""
        for machine in machines:
            if machine.is_kept:
                self._leave(machine, State.ENDING, reason, self._shut_down(machine))

    def stop(self, machines: Iterable[Machine], reason: tuple[str, str] = ENDED_BY_USER) -> None:
        """Begin to stop these machines; only those that live do. Their homes stay, their addresses do not."""
        for machine in machines:
            if machine.is_living:
                self._leave(machine, State.STOPPING, reason, self._halt(machine))

    def start_again(self, machine: Machine) -> None:
        """Boot a machine that has stopped; it gets another address."""
        if machine.state is State.STOPPED:
            machine.state, machine.reason = State.PENDING, None
            machine.boot_s = self.draw_boot_s()
            machine.settled.clear()
            machine.stopped.clear()
            self._begin_boot(machine)

    def reboot(self, machine: Machine) -> None:
        """Cut a running machine's connections and processes; it stays running, and its SSH server comes back."""
        if machine.state is State.RUNNING and machine.host is not None:
            machine.boots += 1
            machine.ssh_open_at = None
            self.start(self._reboot(machine, machine.host))

    def add_faults(self, faults: Iterable[str]) -> None:
        """Plan what befalls machines, or let it happen now. Raises ``ValueError``."""
        for blow in self._fates.add_faults(read_faults(faults)):
            for each in self:
                if blow.target in ("*", each.id):
                    self._strike(each, blow)
        for each in self:
            if each.guest is not None:
                each.guest.afflict()

    def start(self, life: Coroutine[None, None, None]) -> None:
        """Run what belongs to a machine's life; it ends with the room at the latest."""
        task = asyncio.get_running_loop().create_task(life)
        self._lives.add(task)
        task.add_done_callback(self._finished)

    async def aclose(self) -> None:
        """End everything at once: tasks, hosts, homes."""
        for task in tuple(self._lives):
            task.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await asyncio.gather(*(self._close_host(machine) for machine in self))
        self._runs.close()

    def _leave(self, machine: Machine, state: State, reason: tuple[str, str], way: Coroutine[None, None, None]) -> None:
        """A machine's boot or running is over, and it goes another way."""
        machine.state, machine.reason, machine.reason_at = state, reason, self._clock.now()
        machine.settled.set()
        self.start(way)

    def _begin_boot(self, machine: Machine) -> None:
        machine.boots += 1
        machine.boots_since = self._clock.now()
        self.start(self._boot(machine, machine.boots))

    async def _boot(self, machine: Machine, this_boot: int) -> None:
        await self._clock.sleep(machine.boot_s)
        if machine.state is not State.PENDING or machine.boots != this_boot:
            return
        fate = self._fates.of_boot()
        if fate == STOP:
            self.stop([machine], STOPPED_BY_CLOUD)
            return
        if machine.is_doomed or fate:
            self._die(machine, BOOT_ERROR if fate == FATAL_ERROR else NO_CAPACITY)
            return
        try:
            self._give_host(machine)
        except (AddressesTaken, OSError) as error:
            # Left pending, it would be waited for in vain.
            log.exception("a machine has no host")
            self._die(machine, (INTERNAL_ERROR, str(error)))
            return
        machine.state, machine.running_at = State.RUNNING, self._clock.now()
        machine.settled.set()
        self._after_boot(machine)
        await self._wake(machine, this_boot)
        await self._open(machine, this_boot)

    async def _wake(self, machine: Machine, this_boot: int) -> None:
        """Let its system run what it was told at its launch; what goes wrong with that costs nothing else."""
        host = machine.host
        if machine.user_data is None or host is None or not self._settings.runs_user_data:
            return
        if host.guest is None:
            ground = Ground(
                self._clock, self._runs, self._settings.has_systemd, partial(self._fates.of_machine, machine.id)
            )
            host.guest = Guest(machine.id, machine.user_data, host.folder, ground)
        try:
            rest = await host.guest.boot(host.cell, partial(self._end_inside, machine, this_boot))
        except OSError:
            log.exception("a machine's user data is not run")
        else:
            self.start(rest)

    def _end_inside(self, machine: Machine, this_boot: int, kind: str) -> None:
        """Its own system ends it. What is halted, and not powered off, goes on running as its cloud sees it."""
        if not _is_up(machine, this_boot):
            return
        if kind == REBOOT:
            self.reboot(machine)
        elif kind == HALT and machine.host is not None:
            machine.ssh_open_at = None
            self.start(machine.host.halt())
        else:
            self._power_off(machine)

    def _power_off(self, machine: Machine) -> None:
        (self.end if machine.is_ended_by_shutdown else self.stop)([machine], SHUT_DOWN_INSIDE)

    def _after_boot(self, machine: Machine) -> None:
        if machine.is_spot and (after := self._fates.of_spot()) is not None:
            self.start(self._reclaim_later(machine, after))
        if not machine.has_public_address:
            machine.address = None
        elif self._settings.late_addresses:
            address, machine.address = machine.address, None
            self.start(self._address_later(machine, address))

    async def _reclaim_later(self, machine: Machine, after: float) -> None:
        await self._clock.sleep(after)
        self._strike(machine, Blow(SPOT_RECLAIM, machine.id))

    async def _address_later(self, machine: Machine, address: str | None) -> None:
        await self._clock.sleep(self._settings.late_addresses)
        # Of this boot alone: another one has an address of its own.
        if machine.state is State.RUNNING and machine.host is not None and machine.host.address == address:
            machine.address = address

    def _strike(self, machine: Machine, blow: Blow) -> None:
        """Let happen what can happen to it as it is."""
        if blow.kind == SPOT_RECLAIM:
            if machine.is_spot and machine.is_living:
                self._take_back(machine)
        elif machine.state is not State.RUNNING:
            return
        elif blow.kind == SHUTDOWN:
            self._power_off(machine)
        elif blow.kind == REBOOT:
            self.reboot(machine)
        elif machine.guest is not None and blow.kind == CLOCK:
            machine.guest.shift(blow.seconds)
        elif machine.guest is not None and blow.kind == REBOOT_LATER:
            machine.guest.reboot_later()

    def _take_back(self, machine: Machine) -> None:
        if machine.take_back is None:
            self.end([machine], RECLAIMED)
        else:
            machine.take_back()

    def _give_host(self, machine: Machine) -> None:
        """Its first one, or that of before on another address."""
        if machine.host is None:
            shell = machine.tags.get(LOGIN_SHELL) or self._settings.login_shell
            machine.host = self._hosts.make(machine.logins, shell, machine.host_key)
        else:
            self._hosts.revive(machine.host)
        machine.address = machine.host.address

    async def _open(self, machine: Machine, this_boot: int) -> None:
        await self._clock.sleep(self.rng.uniform(*self._settings.ssh_delay))
        host = machine.host
        if host is None or not _is_up(machine, this_boot) or not self._settings.has_ssh:
            return
        await host.open()
        if _is_up(machine, this_boot):
            machine.ssh_open_at = self._clock.now()
        elif machine.boots == this_boot:
            # It was stopped or ended meanwhile, and what was to cut its server found none.
            await host.halt()

    async def _halt(self, machine: Machine) -> None:
        machine.ssh_open_at = None
        if machine.host is not None:
            await machine.host.halt()
        await self._clock.sleep(self._settings.shutdown)
        if machine.state is State.STOPPING:
            machine.state, machine.stopped_at, machine.address = State.STOPPED, self._clock.now(), None
        machine.stopped.set()

    async def _reboot(self, machine: Machine, host: Host) -> None:
        this_boot = machine.boots
        await host.halt()
        if _is_up(machine, this_boot):
            self._hosts.revive(host, keeps_address=True)
            if machine.address is not None:
                machine.address = host.address
            await self._wake(machine, this_boot)
            await self._open(machine, this_boot)

    def _die(self, machine: Machine, reason: tuple[str, str]) -> None:
        """Of a launch there is nothing left then; a machine that was only started again is stopped still."""
        machine.reason, machine.reason_at = reason, self._clock.now()
        machine.settled.set()
        machine.stopped.set()
        if machine.host is not None:
            machine.state, machine.stopped_at = State.STOPPED, self._clock.now()
            return
        machine.state, machine.ended_at = State.ENDED, self._clock.now()
        machine.gone.set()

    async def _shut_down(self, machine: Machine) -> None:
        await self._close_host(machine)
        await self._clock.sleep(self._settings.shutdown)
        machine.state, machine.ended_at = State.ENDED, self._clock.now()
        machine.address = None
        machine.stopped.set()
        machine.gone.set()

    async def _close_host(self, machine: Machine) -> None:
        if machine.host is not None:
            host, machine.host = machine.host, None
            await host.aclose()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._lives.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a machine's life broke off", exc_info=task.exception())


def _is_up(machine: Machine, this_boot: int) -> bool:
    """It runs, and was not started anew since."""
    return machine.state is State.RUNNING and machine.boots == this_boot
