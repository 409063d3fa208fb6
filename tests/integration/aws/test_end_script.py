"""The script that ends a machine, run minute by minute under real shells, on machines to which everything happens."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ogc_async.providers.aws.userdata import END_PATH, end_script, user_data
from ogc_async.types import Then

LIFE_S = 360
DUE = 6
LAUNCHED_AT = 1_795_000_000
HOUR_S = 3600

SHELLS = [each for each in ("dash", "bash --posix", "busybox sh") if shutil.which(each.split()[0])]

AT_ONCE = {"systemctl poweroff", "shutdown -h now", "poweroff", "systemctl poweroff -ff", "poweroff -f"}

STAND_IN = """\
#!/bin/sh
echo "${0##*/} $*" >> "$MACHINE/asked"
case "$*" in *-f*) [ ! -e "$MACHINE/no-force" ] ;; *) [ ! -e "$MACHINE/no-power-off" ] ;; esac
"""


def moved(text: str, folder: Path) -> str:
    """The very text, with a machine's own paths below the folder."""
    return re.sub(r"(?<=[ =])/(?=(proc|var|etc)/)", f"{folder}/", text)


class Machine:
    """A machine's counters, clock and programs, all below one folder."""

    def __init__(self, folder: Path, shell: str = "sh", life_s: float = LIFE_S, then: Then = Then.END) -> None:
        self.folder = folder
        self.shell = shell
        self.state = folder / "var/lib/ogc-end"
        self.up_s, self.clock, self.boot = 0, LAUNCHED_AT, 1
        self.said = ""
        (folder / "bin").mkdir(parents=True)
        self.state.parent.mkdir(parents=True)
        (folder / "proc/sys/kernel/random").mkdir(parents=True)
        self.script = folder / "ogc-end"
        self.script.write_text(moved(end_script(timedelta(seconds=life_s), then), folder))
        self._program("date", '#!/bin/sh\nread -r now < "$MACHINE/now"; echo "$now"\n')
        for name in ("systemctl", "shutdown", "poweroff"):
            self._program(name, STAND_IN)

    def pass_s(self, seconds: int) -> None:
        self.up_s += seconds
        self.clock += seconds

    def reboot(self, off_s: int = 0) -> None:
        """It was down for ``off_s``, and is up again since just now."""
        self.clock += off_s
        self.up_s = 0
        self.boot += 1

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the script as its timer does, or with these words."""
        (self.folder / "proc/uptime").write_text(f"{self.up_s}.25 17.03\n")
        (self.folder / "proc/sys/kernel/random/boot_id").write_text(f"boot-{self.boot}\n")
        (self.folder / "now").write_text(f"{self.clock}\n")
        done = subprocess.run(
            [*self.shell.split(), self.script, *words],
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin", "MACHINE": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.said += done.stderr
        return done

    @property
    def asked(self) -> list[str]:
        """What was asked of the system so far."""
        file = self.folder / "asked"
        return [line.strip() for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def is_off(self) -> bool:
        """Something powered it off: at once, as all that waits can be cancelled, and with a way that works here."""
        refused = (self.folder / "no-power-off").exists(), (self.folder / "no-force").exists()
        worked = [each for each in self.asked if each in AT_ONCE and not refused[each.endswith(("-ff", "-f"))]]
        return bool(worked) or (self.folder / "proc/sysrq-trigger").exists()

    def forget(self) -> None:
        (self.folder / "asked").unlink()

    def end_minute(self, happens: Callable[[Machine, int], object], *, until: int = 20) -> int | None:
        """The minute in which it is off, counted from its launch or from now on; ``None`` where it stays on."""
        for minute in range(1, until + 1):
            self.pass_s(60)
            happens(self, minute)
            self.run()
            if self.is_off:
                return minute
        return None

    def _program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)


def at(minutes: Mapping[int, Callable[[Machine], object]]) -> Callable[[Machine, int], None]:
    """What happens in these minutes."""

    def happens(machine: Machine, minute: int) -> None:
        if minute in minutes:
            minutes[minute](machine)

    return happens


def set_clock(seconds: int) -> Callable[[Machine], None]:
    """Set on by that much, or back."""

    def change(machine: Machine) -> None:
        machine.clock += seconds

    return change


def has_no(*ways: str) -> Callable[[Machine], None]:
    """These ways to power off fail."""

    def change(machine: Machine) -> None:
        for each in ways:
            (machine.folder / each).touch()

    return change


def was_never_set(machine: Machine) -> None:
    machine.clock = 1_000


def is_set_at_last(machine: Machine) -> None:
    machine.clock = LAUNCHED_AT + machine.up_s


def cannot_write(machine: Machine) -> None:
    shutil.rmtree(machine.state, ignore_errors=True)
    machine.state.write_text("a file where the folder would be")


def lose_state(machine: Machine) -> None:
    shutil.rmtree(machine.state)


def damage_state(machine: Machine) -> None:
    (machine.state / "used").write_text("boot-1 08 09 1 .\n")
    (machine.state / "end").write_text("600 17950")


def tear_state(machine: Machine) -> None:
    (machine.state / "end").write_text("")
    (machine.state / "used").unlink()
    (machine.state / "used").mkdir()


def cannot_write_nor_power_off(machine: Machine) -> None:
    cannot_write(machine)
    has_no("no-power-off")(machine)


def nothing(_machine: Machine) -> None:
    """Nothing happens."""


Scene = tuple[Mapping[int, Callable[[Machine], object]], int]

SCENES: Mapping[str, Scene] = {
    "a quiet life": ({}, DUE),
    "two reboots": ({2: Machine.reboot, 4: Machine.reboot}, DUE),
    "a reboot in its last minute": ({DUE: Machine.reboot}, DUE),
    "a clock set 2 h back": ({2: set_clock(-2 * HOUR_S)}, DUE),
    "a clock set 2 minutes on": ({3: set_clock(120)}, DUE - 2),
    # The minute that a reboot takes is on the clock alone.
    "a clock set 2 h back, and a reboot": ({2: set_clock(-2 * HOUR_S), 4: Machine.reboot}, DUE + 1),
    "a clock in 1970": ({1: was_never_set}, DUE),
    "a clock in 1970 until NTP sets it": ({1: was_never_set, 3: is_set_at_last}, DUE),
    "a clock years ahead until NTP sets it": ({1: set_clock(10**8), 3: is_set_at_last}, DUE),
    "no polite way to power off": ({1: has_no("no-power-off")}, DUE + 2),
    "no way to power off but the kernel's": ({1: has_no("no-power-off", "no-force")}, DUE + 2),
    "a folder that cannot be written": ({1: cannot_write}, DUE),
    "a folder that cannot be written from the middle on": ({3: cannot_write}, DUE),
    "neither a folder to write nor a polite way": ({1: cannot_write_nor_power_off}, DUE + 2),
    "its state removed": ({3: lose_state}, DUE),
    "its state damaged": ({3: damage_state}, DUE),
    "its state torn, and no polite way": ({3: tear_state, 4: has_no("no-power-off")}, DUE + 2),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_machine_ends_in_the_minute_that_is_due_whatever_happens_to_it(tmp_path: Path, name: str) -> None:
    happens, due = SCENES[name]
    machine = Machine(tmp_path / "m")
    assert machine.end_minute(at(happens)) == due
    assert set(machine.asked) <= AT_ONCE, "nothing is scheduled ahead, so nothing can be cancelled"
    assert machine.said == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_that_a_machine_may_have_runs_it(tmp_path: Path, shell: str) -> None:
    machine = Machine(tmp_path / "m", shell, life_s=90)
    assert machine.end_minute(at({1: cannot_write_nor_power_off})) == 4
    machine = Machine(tmp_path / "n", shell, life_s=90)
    machine.run()
    damage_state(machine)
    assert machine.run("extend", "180").stdout == f"{LAUNCHED_AT + 180}\n"
    assert machine.end_minute(at({})) == 3
    assert machine.said == ""


@pytest.mark.parametrize(("life_s", "minute"), [(30, 1), (60, 1), (61, 2), (89.5, 2)])
def test_a_life_is_seconds_and_a_look_a_minute(tmp_path: Path, life_s: float, minute: int) -> None:
    assert Machine(tmp_path / "m", life_s=life_s).end_minute(at({})) == minute


def test_a_polite_power_off_that_does_nothing_is_tried_twice_and_then_forced(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", life_s=60)
    for _ in range(4):
        machine.pass_s(60)
        machine.run()
    assert machine.asked == ["systemctl poweroff"] * 2 + ["systemctl poweroff -ff"] * 2
    assert (machine.folder / "proc/sysrq-trigger").read_text() == "o\n"


def test_an_end_that_is_put_off_holds_through_clocks_and_reboots(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m")

    def extend(machine: Machine) -> None:
        done = machine.run("extend", str(LIFE_S))
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{machine.clock + LIFE_S}\n", "")

    scene = {3: extend, 5: Machine.reboot, 6: set_clock(-HOUR_S)}
    # The clock is an hour behind, and the reboot's minute on none of the two counters.
    assert machine.end_minute(at(scene)) == 3 + DUE + 1


def test_an_end_can_be_brought_forward(tmp_path: Path) -> None:
    assert Machine(tmp_path / "m").end_minute(at({2: lambda machine: machine.run("extend", "120")})) == 4


@pytest.mark.parametrize(
    ("words", "before", "told"),
    [
        (("extend",), nothing, "a number of seconds"),
        (("extend", "2h"), nothing, "not '2h'"),
        (("extend", "0"), nothing, "from 1 to"),
        (("extend", "-5"), nothing, "from 1 to"),
        (("extend", "999999999999"), nothing, "to 999999999"),
        (("extend", "99999999999999999999"), nothing, "a number of seconds"),
        (("extend", "600"), cannot_write, "as root"),
        (("extend", "600"), was_never_set, "clock is not set"),
        (("retract",), nothing, "no such command"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], before: Callable[[Machine], None], told: str
) -> None:
    machine = Machine(tmp_path / "m")
    machine.pass_s(300)
    before(machine)
    done = machine.run(*words)
    assert done.returncode != 0
    assert done.stdout == ""
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert machine.end_minute(at({})) == 1


def test_a_copy_by_another_name_leaves_the_computer_that_it_is_tried_on_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", life_s=1)
    machine.script = machine.script.rename(tmp_path / "copy")
    machine.pass_s(60)
    done = machine.run()
    assert done.returncode != 0
    assert "changes nothing" in done.stderr
    assert not machine.is_off
    assert not machine.state.exists()


def test_a_machine_that_powers_off_already_is_not_put_off(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", life_s=60)
    assert machine.end_minute(at({})) == 1
    done = machine.run("extend", "600")
    assert done.returncode != 0
    assert "powering off already" in done.stderr


def test_a_machine_that_stops_at_its_end_lives_again_with_the_next_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", then=Then.STOP)
    for off_s in (60, HOUR_S, 0):
        assert machine.end_minute(at({2: Machine.reboot})) == DUE
        machine.forget()
        machine.reboot(off_s)


def test_an_end_that_is_put_off_as_soon_as_the_machine_is_started_again_holds(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", then=Then.STOP)
    assert machine.end_minute(at({})) == DUE
    machine.forget()
    machine.reboot(HOUR_S)
    assert machine.run("extend", "180").returncode == 0
    assert machine.end_minute(at({})) == 3


@pytest.mark.parametrize(("then", "minute"), [(Then.STOP, 3 + DUE), (Then.END, 3)])
def test_a_machine_that_was_off_at_its_end_lives_again_where_it_may_stop_and_ends_where_it_may_not(
    tmp_path: Path, then: Then, minute: int
) -> None:
    machine = Machine(tmp_path / "m", then=then)
    assert machine.end_minute(at({3: lambda machine: machine.reboot(HOUR_S)})) == minute


def test_a_reboot_at_its_end_is_no_new_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", then=Then.STOP)
    assert machine.end_minute(at({DUE: lambda machine: machine.reboot(90)})) == DUE


def test_cloud_init_writes_the_script_and_what_runs_it_each_minute(tmp_path: Path) -> None:
    told = user_data(timedelta(hours=1), None, stops_at_end=True)
    assert told == user_data(timedelta(hours=1), None, stops_at_end=True)
    written = {each["path"]: each for each in YAML(typ="safe").load(told)["write_files"]}
    assert written[END_PATH]["content"] == end_script(timedelta(hours=1), Then.STOP)
    assert written[END_PATH]["permissions"] == "0755"
    assert f"ExecStart=/bin/sh {END_PATH}\n" in written["/etc/systemd/system/ogc-end.service"]["content"]
    timer = written["/etc/systemd/system/ogc-end.timer"]["content"]
    assert "OnBootSec=1min\nOnUnitActiveSec=1min\n" in timer
    assert "WantedBy=timers.target" in timer


@pytest.mark.parametrize("has_systemd", [True, False])
def test_each_boot_has_the_script_run_by_systemd_or_else_by_cron(tmp_path: Path, has_systemd: bool) -> None:
    told = YAML(typ="safe").load(user_data(timedelta(hours=1), None))["write_files"]
    [at_boot] = [each["content"] for each in told if "per-boot" in each["path"]]
    asked, cron = tmp_path / "asked", tmp_path / "etc/cron.d"
    cron.mkdir(parents=True)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >> {asked}\nexit {0 if has_systemd else 1}\n')
    systemctl.chmod(0o755)
    ran = tmp_path / "ran"
    (tmp_path / "ogc-end").write_text(f"touch {ran}\n")
    subprocess.run(
        ["sh", "-c", moved(at_boot, tmp_path).replace(f"exec sh {END_PATH}", f"exec sh {tmp_path}/ogc-end")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
        timeout=60,
    )
    assert ran.exists()
    assert asked.read_text().splitlines() == ["daemon-reload", "enable ogc-end.timer", "start ogc-end.timer"]
    lines = [each.read_text() for each in cron.iterdir()]
    assert lines == ([] if has_systemd else [f"* * * * * root /bin/sh {END_PATH}\n"])
