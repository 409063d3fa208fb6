"""What machines do with their user data: cloud-init's part, timers, and every way to end a machine from inside.

Most of it in virtual time: the sandbox's hours are what its processes take.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import asyncssh
import pytest

from ogc_async.sandbox import Sandbox, SandboxSettings
from ogc_async.sandbox.ec2 import cloudinit
from ogc_async.sandbox.hosts import Login
from ogc_async.sandbox.room import Machine, State
from ogc_async.sandbox.traffic import read_faults
from tests.cloud import Cloud
from tests.integration.sandbox.conftest import client_of
from tests.integration.sandbox.judge import Judge
from tests.integration.sandbox.test_boto3 import QUICK
from tests.lies.jumping import LoopClock, jumping
from tests.machine import DEADLINE_S, ENCLOSURES, need_enclosure

MINUTE = 60.0
SECONDS_OF_BOOT = 5.0
"""What machines may take until their scripts have run."""


@dataclass
class Room:
    """A sandbox in virtual time, and its machines by id."""

    sandbox: Sandbox

    def launch(self, name: str, user_data: str, *, is_ended: bool = True, **values: Any) -> Machine:
        """A machine that was sent this; it is terminated by a shutdown from inside, or stopped."""
        told = cloudinit.read(encoded(user_data))
        machine = Machine(
            id=name,
            provider="aws",
            region="us-east-2",
            zone="us-east-2a",
            type="t3.small",
            image="ami-0",
            **{"logins": (), **values},
            private_ip="172.31.0.4",
            launched_at=0.0,
            boot_s=0.0,
            user_data=told.user_data,
            is_ended_by_shutdown=is_ended,
        )
        self.sandbox._room.launch(machine)
        return machine

    async def passes(self, seconds: float) -> None:
        """That much of virtual time."""
        await self.sandbox._clock.sleep(seconds)


@asynccontextmanager
async def open_room(clock: Any = None, **values: Any) -> AsyncIterator[Room]:
    given: dict[str, Any] = {"has_ssh": False, "enclosure": "off", "boot": (0.0, 0.0), "shutdown": 0.0}
    sandbox = Sandbox(SandboxSettings(**(given | values)))
    if clock is not None:
        sandbox._clock = clock
    async with sandbox:
        yield Room(sandbox)


def in_virtual_time(act: Callable[[Room], Awaitable[None]], **values: Any) -> None:
    async def run() -> None:
        async with open_room(LoopClock(), **values) as room:
            await act(room)

    with jumping() as runner:
        runner.run(run())


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(files: dict[str, str], rest: str = "") -> str:
    """A cloud-config with these files, all of them programs."""
    entries = (
        f'- path: {path}\n  permissions: "0755"\n  content: |\n{indent(text, "    ")}\n' for path, text in files.items()
    )
    return f"#cloud-config\nwrite_files:\n{''.join(entries)}{rest}"


def root(machine: Machine) -> Path:
    assert machine.host is not None
    return machine.host.folder / "root"


def lines(machine: Machine, path: str) -> list[str]:
    file = root(machine) / path
    return file.read_text().split() if file.exists() else []


PER_BOOT = "/var/lib/cloud/scripts/per-boot"
TIMER = "[Timer]\nOnBootSec=90\nOnUnitActiveSec=1min\nAccuracySec=1us\n[Install]\nWantedBy=timers.target\n"
SERVICE = "[Service]\nType=oneshot\nExecStart=/usr/local/sbin/tick\n"
TICK = "#!/bin/sh\nread -r up idle < /proc/uptime\necho ${up%.*} >> /var/ticks\n"


def ticking(*start: str, tick: str = TICK, timer: str = TIMER) -> str:
    return config(
        {
            "/usr/local/sbin/tick": tick,
            "/etc/systemd/system/tick.service": SERVICE,
            "/etc/systemd/system/tick.timer": timer,
            f"{PER_BOOT}/tick": "\n".join(("#!/bin/sh", *start, "")),
        }
    )


def test_files_are_written_below_the_machines_own_root() -> None:
    data = f"""#cloud-config
write_files:
- {{path: /etc/one.conf, content: "here /var/lib/x, not there/var/x nor /variable", permissions: "0600"}}
- {{path: /etc/one.conf, content: " and more", append: true}}
- {{path: /opt/../../../opt/two, content: {encoded("two")}, encoding: b64}}
- {{path: /opt/three, content: "!", encoding: gzip}}
- {{content: nowhere}}
- nothing
runcmd: [[touch, "/opt/a b"], "echo four > /opt/four"]
"""

    async def act(room: Room) -> None:
        machine = room.launch("i-1", data)
        await room.passes(SECONDS_OF_BOOT)
        one = root(machine) / "etc/one.conf"
        assert one.read_text() == f"here {root(machine)}/var/lib/x, not there/var/x nor /variable and more"
        assert one.stat().st_mode & 0o777 == 0o644
        assert sorted(each.name for each in (root(machine) / "opt").iterdir()) == ["a b", "four", "two"]
        assert lines(machine, "opt/two") == ["two"]
        folder = root(machine)
        room.sandbox._room.end([machine])
        await machine.gone.wait()
        assert not folder.exists()

    in_virtual_time(act)


def test_each_boot_runs_its_scripts_in_order_and_the_first_one_what_is_run_once() -> None:
    data = config(
        {
            f"{PER_BOOT}/2-second": "#!/bin/sh\necho second >> /var/story",
            f"{PER_BOOT}/1-first": "#!/bin/sh\necho first >> /var/story; exit 1",
        },
        f"""- {{path: {PER_BOOT}/3-no-program, content: "#!/bin/sh\\necho third >> /var/story"}}
bootcmd: ["echo boot >> /var/story", "cat /proc/sys/kernel/random/boot_id >> /var/ids"]
runcmd: ["echo once >> /var/story"]
""",
    )
    each_boot = ["boot", "first", "second"]

    async def act(room: Room) -> None:
        machine = room.launch("i-1", data)
        await room.passes(SECONDS_OF_BOOT)
        assert lines(machine, "var/story") == [*each_boot, "once"]
        room.sandbox._room.stop([machine])
        await machine.stopped.wait()
        room.sandbox._room.start_again(machine)
        await room.passes(SECONDS_OF_BOOT)
        room.sandbox.add_faults("reboot=i-1")
        await room.passes(SECONDS_OF_BOOT)
        assert lines(machine, "var/story") == [*each_boot, "once", *each_boot, *each_boot]
        assert len(set(lines(machine, "var/ids"))) == 3

    in_virtual_time(act)


@pytest.mark.parametrize(
    ("user_data", "is_run"),
    [
        ("#!/bin/sh\necho run > /var/run-by\n", True),
        ("#!/no/such/program\n", False),
        ("#cloud-config\nruncmd: [{a: b}]\n", False),
        ("#cloud-config\nwrite_files: {path: /a}\nbootcmd: no list\nruncmd: 7\n", False),
        ("#cloud-config\nwrite_files: [\n", False),
        ("echo run > /var/run-by\n", False),
    ],
)
def test_user_data_that_is_none_costs_nothing_else(user_data: str, is_run: bool) -> None:
    async def act(room: Room) -> None:
        machine = room.launch("i-1", user_data)
        await room.passes(SECONDS_OF_BOOT)
        assert machine.state is State.RUNNING
        assert lines(machine, "var/run-by") == (["run"] if is_run else [])

    in_virtual_time(act)


def test_user_data_is_run_only_where_it_is_switched_on() -> None:
    async def act(room: Room) -> None:
        machine = room.launch("i-1", "#!/bin/sh\npoweroff\n")
        await room.passes(MINUTE)
        assert machine.state is State.RUNNING
        assert machine.guest is None

    in_virtual_time(act, runs_user_data=False)


def test_a_timer_runs_its_service_by_the_uptime_and_again_after_each_boot() -> None:
    async def act(room: Room) -> None:
        once, enable = "[ ! -e /var/ticks ] || exit", "systemctl enable"
        machines = [
            room.launch("i-1", ticking(once, f"{enable} -q --now tick.timer")),
            room.launch("i-2", ticking(once, "systemctl start tick.timer")),
            room.launch("i-3", ticking(once, f"{enable} --now tick.timer", *["systemctl restart tick.timer"] * 3)),
            room.launch("i-4", ticking(f"{enable} tick.timer", "systemctl is-enabled tick.timer > /var/ticks")),
            room.launch("i-5", ticking(once, f"{enable} --now tick.timer", "systemctl disable tick.timer")),
        ]
        await room.passes(4 * MINUTE)
        ticks = [lines(each, "var/ticks") for each in machines]
        assert ticks.pop(3) == ["enabled"]
        assert ticks == [["90", "150", "210"]] * 4
        room.sandbox.add_faults("reboot=*")
        await room.passes(2 * MINUTE)
        again = [lines(each, "var/ticks")[3:] for each in machines]
        assert [again[0], again[1], again[2], again[4]] == [["90"], [], ["90"], []]

    in_virtual_time(act)


def test_a_timer_is_late_within_its_accuracy_which_is_a_minute() -> None:
    timer = TIMER.replace("AccuracySec=1us\n", "")

    async def act(room: Room) -> None:
        machines = [room.launch(f"i-{n}", ticking("systemctl start tick.timer", timer=timer)) for n in range(4)]
        await room.passes(150 + SECONDS_OF_BOOT)
        firsts = [int(lines(each, "var/ticks")[0]) for each in machines]
        assert all(90 <= each <= 150 for each in firsts)
        assert len(set(firsts)) > 1

    in_virtual_time(act)


def test_without_systemd_cron_runs_its_lines_each_minute() -> None:
    data = config(
        {
            "/usr/local/sbin/tick": TICK,
            f"{PER_BOOT}/cron": "#!/bin/sh\n[ ! -d /run/systemd/system ] && ! systemctl daemon-reload || exit 1\n"
            "echo '* * * * * root /usr/local/sbin/tick' > /etc/cron.d/tick\n",
        }
    )

    async def act(room: Room) -> None:
        machine = room.launch("i-1", data)
        await room.passes(3 * MINUTE)
        first, second, third = map(int, lines(machine, "var/ticks"))
        assert (second - first, third - second) == (60, 60)

    in_virtual_time(act, has_systemd=False)


ENDS = {
    "now": ("shutdown -h now", 0),
    "in ten minutes": ("shutdown -h +10", 10),
    "a later schedule": ("shutdown -h +10; shutdown -P +4", 4),
    "in a minute": ("shutdown", 1),
    "poweroff": ("poweroff", 0),
    "by systemd": ("systemctl poweroff", 0),
    "by force": ("systemctl poweroff -ff", 0),
    "by init": ("init 0", 0),
    "as root": ("sudo -n shutdown -h now", 0),
    "by sysrq": ("echo o > /proc/sysrq-trigger", 0),
    "by its path": ("/usr/sbin/shutdown -h now || /sbin/poweroff", 0),
    "with a path of its own": ("PATH=/usr/sbin:/usr/bin:/sbin:/bin; poweroff", 0),
    "cancelled": ("shutdown -h +1; shutdown -c", None),
    "replaced": ("[ -e /var/x ] || { touch /var/x; shutdown -h +2; shutdown -r +1; }", None),
    "halted": ("halt", None),
    "not understood": ("shutdown soon && poweroff", None),
    "of no such unit": ("systemctl start none.timer && poweroff", None),
}


def test_a_machine_is_ended_from_inside_by_the_clock_and_by_the_last_word() -> None:
    async def act(room: Room) -> None:
        ended = {
            name: room.launch(name, config({f"{PER_BOOT}/end": f"#!/bin/sh\n{script}"}))
            for name, (script, _) in ENDS.items()
        }
        stopped = room.launch("stopped", "#!/bin/sh\nshutdown -h now\n", is_ended=False)
        await room.passes(12 * MINUTE)
        minutes = {
            name: None if each.ended_at is None else round(each.ended_at / MINUTE) for name, each in ended.items()
        }
        assert minutes == {name: minute for name, (_, minute) in ENDS.items()}
        assert {each.reason and each.reason[0] for each in ended.values() if each.ended_at is not None} == {
            "Client.InstanceInitiatedShutdown"
        }
        assert (ended["replaced"].boots, ended["halted"].state) == (2, State.RUNNING)
        assert (stopped.state, stopped.reason) == (
            State.STOPPED,
            ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown"),
        )

    in_virtual_time(act)


LIFE_MIN = 8
ENDING = f"""#!/bin/sh
# A switch that tries again: by the uptime of all boots, and by the clock.
state=/var/lib/switch boot= before=0 last=0 tries=0 until=9999999999
[ -d $state ] || mkdir -p $state
read -r up idle < /proc/uptime
read -r id < /proc/sys/kernel/random/boot_id
read -r boot before last tries until < $state/known
[ "$boot" = "$id" ] || before=$last
used=$(( before + ${{up%.*}} )) now=$(date +%s)
[ $until -lt 9999999999 ] || [ $now -lt 1700000000 ] || until=$(( now - ${{up%.*}} + {LIFE_MIN} * 60 ))
if [ $used -ge {LIFE_MIN * 60} ] || [ $now -ge $until ]; then tries=$(( tries + 1 )); fi
echo $id $before $used $tries $until > $state/known
[ $tries -gt 0 ] || exit 0
if [ $tries -le 2 ]; then systemctl poweroff || shutdown -h now || poweroff; else systemctl poweroff -ff; fi
"""
SABOTAGES = {
    "i-plain": ((), 0),
    "i-broken": (("broken-shutdown=i-broken",), 2),
    "i-forward": (("clock=i-forward:+120",), -2),
    "i-back": (("clock=i-back:-7200",), 0),
    "i-reboot": (("reboot=i-reboot",), 0.5),
    "i-later": (("reboot-later=i-later",), 0.5),
    "i-1970": (("clock-1970=i-1970",), 0),
    "i-occupied": (("no-state=i-occupied",), 0),
}


def test_sabotage_delays_or_hurries_a_switch_that_tries_again_and_never_saves_its_machine() -> None:
    data = ticking("systemctl enable --now tick.timer", tick=ENDING)
    planned = tuple(each for faults, _ in SABOTAGES.values() for each in faults if "1970" in each)

    async def act(room: Room) -> None:
        machines = {name: room.launch(name, data) for name in SABOTAGES}
        await room.passes(2 * MINUTE)
        room.sandbox.add_faults(*(each for faults, _ in SABOTAGES.values() for each in faults if each not in planned))
        await room.passes(10 * MINUTE)
        late = {name: (each.ended_at or 0.0) / MINUTE - LIFE_MIN for name, each in machines.items()}
        # A tick may be a minute late, and begins half a minute after the boot.
        early = {name: each for name, each in late.items() if not 0 <= each - SABOTAGES[name][1] <= 1.1}
        assert early == {}

    in_virtual_time(act, faults=planned)


def test_somebodys_cancel_spares_a_machine_whose_end_is_only_scheduled() -> None:
    async def act(room: Room) -> None:
        spared = room.launch("i-1", "#!/bin/sh\nshutdown -h +5\n")
        other = room.launch("i-2", "#!/bin/sh\nshutdown -h +5\n")
        await room.passes(8 * MINUTE)
        assert (spared.state, other.state) == (State.RUNNING, State.ENDED)

    in_virtual_time(act, faults=("cancel-shutdown=i-1",))


def test_what_is_wrong_with_every_machine_is_wrong_with_those_to_come_until_all_is_well() -> None:
    script = "#!/bin/sh\nshutdown -h +3 || systemctl poweroff || poweroff || reboot || echo failed > /var/x\n"

    async def act(room: Room) -> None:
        first = room.launch("i-1", script)
        await room.passes(SECONDS_OF_BOOT)
        room.sandbox.add_faults("*=well")
        second = room.launch("i-2", script)
        await room.passes(4 * MINUTE)
        assert (first.state, lines(first, "var/x"), second.state) == (State.RUNNING, ["failed"], State.ENDED)

    in_virtual_time(act, faults=("broken-shutdown=*",))


@pytest.mark.parametrize("fault", ["clock=i-1", "clock=*:soon", "clock=*:inf", "clock=:5"])
def test_a_clock_is_set_by_a_number_of_seconds(fault: str) -> None:
    with pytest.raises(ValueError, match=r"clock|soon"):
        read_faults([fault])


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not check():
            await asyncio.sleep(0.01)


async def test_a_unit_has_one_run_at_a_time() -> None:
    slow = "#!/bin/sh\necho began >> /var/story\nwhile [ ! -e /var/go ]; do sleep 0.02; done\n"
    start = "for each in 1 2 3 4; do systemctl start tick; done; touch /var/asked"
    async with open_room() as room:
        machine = room.launch("i-1", ticking(start, tick=slow))
        await until(lambda: machine.host and lines(machine, "var/story") and (root(machine) / "var/asked").exists())
        (root(machine) / "var/go").touch()
        assert machine.guest is not None
        await until(lambda: not machine.guest._boot._running)  # type: ignore[union-attr]
        assert lines(machine, "var/story") == ["began"]


@pytest.mark.parametrize("enclosure", ENCLOSURES)
async def test_a_command_over_ssh_reaches_the_machines_own_root(enclosure: str) -> None:
    if enclosure == "on":
        await need_enclosure()
    key = asyncssh.generate_private_key("ssh-ed25519")
    logins = (Login(key.export_public_key().decode()),)
    switch = '#!/bin/sh\necho "$1" > /var/lib/switch\n'
    data = config({"/usr/local/sbin/switch": switch}, "bootcmd: [touch /opt/booted]")
    async with open_room(has_ssh=True, enclosure=enclosure) as room:
        machine = room.launch("i-1", data, logins=logins)
        await until(lambda: machine.ssh_open_at is not None)
        async with asyncssh.connect(
            str(machine.address),
            port=room.sandbox.settings.ssh_port,
            username="ubuntu",
            client_keys=[key],
            known_hosts=None,
            config=None,
        ) as connection:

            async def said(command: str) -> str:
                return str((await connection.run(command, check=True)).stdout).strip()

            await said("sudo sh /usr/local/sbin/switch extended")
            assert lines(machine, "var/lib/switch") == ["extended"]
            assert await said("sudo -n -u root X=/var/lib cat -- /var/lib/switch") == "extended"
            assert await said("sudo ls /opt") == "booted"
            assert await said("sudo sh -c 'switch \"$0\" && cat /var/lib/switch' 'as is'") == "as is"
            assert (await said("sudo cat /proc/sys/kernel/random/boot_id")).count("-") == 4
            assert float((await said("sudo cat /proc/uptime")).split()[0]) < DEADLINE_S
            await connection.run("sudo systemctl poweroff")
        await until(lambda: machine.state is State.ENDED)


async def test_ec2_tells_how_a_machine_ended_from_inside() -> None:
    async with open_room(has_limits=False) as room:
        ec2 = client_of(Cloud(room.sandbox.env(), room.sandbox.url))
        judge = Judge(ec2)

        def act() -> list[dict[str, Any]]:
            named = [{"Name": "name", "Values": ["al2023-ami-2023*x86_64"]}]
            image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
            asked = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
            ids = [
                ec2.run_instances(**asked, UserData="#!/bin/sh\npoweroff\n", InstanceInitiatedShutdownBehavior=each)[
                    "Instances"
                ][0]["InstanceId"]
                for each in ("terminate", "stop")
            ]
            ec2.get_waiter("instance_terminated").wait(InstanceIds=ids[:1], WaiterConfig=QUICK)
            ec2.get_waiter("instance_stopped").wait(InstanceIds=ids[1:], WaiterConfig=QUICK)
            return [
                each for run in ec2.describe_instances(InstanceIds=ids)["Reservations"] for each in run["Instances"]
            ]

        shown = await asyncio.to_thread(act)
        assert {each["StateReason"]["Code"] for each in shown} == {"Client.InstanceInitiatedShutdown"}
        assert {each["StateTransitionReason"] for each in shown} == {"User initiated"}
        assert judge.faults == []
