"""A machine's own paths in what it runs, and when its timers and crontabs run something."""

from __future__ import annotations

import pytest

from ogc_async.sandbox.guest.places import Places
from ogc_async.sandbox.guest.units import command_of, cron_commands, read_unit, seconds, timer_of

PLACES = Places("/m/root", "/m/kernel", "/m/programs")


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("cat /var/lib/x", "cat /m/root/var/lib/x"),
        ("S=/var/lib/x; . '/etc/y' >/run/z", "S=/m/root/var/lib/x; . '/m/root/etc/y' >/m/root/run/z"),
        ("read up < /proc/uptime", "read up < /m/kernel/uptime"),
        ("echo o > /proc/sysrq-trigger", "echo o > /m/kernel/requests"),
        ("cat /proc/sys/kernel/random/boot_id /proc/cpuinfo", "cat /m/kernel/boot_id /proc/cpuinfo"),
        ("ls /etc /opt", "ls /m/root/etc /m/root/opt"),
        ("/usr/local/bin/x /usr/bin/y /bin/sh", "/m/root/usr/local/bin/x /usr/bin/y /bin/sh"),
        ("/sbin/poweroff; /usr/bin/systemctl poweroff", "/m/programs/poweroff; /m/programs/systemctl poweroff"),
        ("export PATH=/usr/local/sbin:/usr/bin", "export PATH=/m/programs:/m/root/usr/local/sbin:/usr/bin"),
        ('PATH="$PATH:/x"', 'PATH="/m/programs:$PATH:/x"'),
        ("https://host/var/x a/etc/b ${HOME}/opt /variable /etcetera", None),
        ("#!/usr/local/bin/python\n", None),
        ("#!/bin/sh\ncat /var/x", "#!/bin/sh\ncat /m/root/var/x"),
    ],
)
def test_a_machines_paths_are_its_own(text: str, translated: str | None) -> None:
    assert PLACES.translate(text) == (text if translated is None else translated)


def test_what_is_translated_stays_as_it_is() -> None:
    once = PLACES.translate("cat /var/x /proc/uptime; systemctl poweroff")
    assert PLACES.translate(once) == once


@pytest.mark.parametrize(
    ("text", "span"),
    [("90", 90.0), ("1min", 60.0), ("1min 30s", 90.0), ("2h", 7200.0), ("500ms", 0.5), ("1d", 86400.0)],
)
def test_a_span_of_systemds_is_seconds(text: str, span: float) -> None:
    assert seconds(text) == pytest.approx(span)


@pytest.mark.parametrize("text", ["", "soon", "1 fortnight", "1min ago"])
def test_what_is_no_span_is_none(text: str) -> None:
    assert seconds(text) is None


def test_a_timer_elapses_after_its_boot_once_and_then_after_each_run() -> None:
    timer = timer_of("a.timer", read_unit("[Timer]\nOnBootSec=2min\nOnUnitActiveSec=60\n"))
    assert (timer.service, timer.accuracy) == ("a.service", 60)
    assert timer.next_after(100, 150, None) == 220
    assert timer.next_after(100, 150, (220, 225)) == 280
    # One that was run by somebody before its first moment.
    assert timer.next_after(100, 150, (160, 160)) == 220


def test_a_timer_may_have_another_service_and_no_moment() -> None:
    timer = timer_of("a.timer", read_unit("[Timer]\nUnit=b.service\nAccuracySec=1s\nOnCalendar=daily\n"))
    assert (timer.service, timer.accuracy, timer.next_after(0, 0, None)) == ("b.service", 1, None)


def test_a_timer_waits_for_the_end_of_a_run_where_it_says_so() -> None:
    timer = timer_of("a.timer", read_unit("[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=10\n"))
    assert timer.next_after(0, 5, None) == 5
    assert timer.next_after(0, 5, (5, 30)) == 40


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("ExecStart=/bin/x 'a b'", ["/bin/x", "a b"]),
        ("ExecStart=-/bin/x", ["/bin/x"]),
        ("Environment=A=1 'B=2 3'\nExecStart=/bin/x", ["/usr/bin/env", "A=1", "B=2 3", "/bin/x"]),
        ("ExecStart=/bin/y\nExecStartPre=/bin/x a", ["/bin/sh", "-c", "/bin/x a && /bin/y"]),
        ("ExecStart=/bin/x \\\n  a", ["/bin/x", "a"]),
        ("Type=oneshot", []),
    ],
)
def test_a_service_runs_its_command(service: str, words: list[str]) -> None:
    assert command_of(read_unit(f"# a comment\n[Service]\n{service}\n[Install]\nAlias=c.service\n")) == words


def test_cron_runs_the_lines_whose_minute_it_is() -> None:
    text = (
        "# none\nMAILTO=x\n* * * * * root a b\n*/5 * * * * root five\n7 * * * * root seven%in\n* 3 * * * root night\n"
    )
    assert list(cron_commands(text, 60)) == ["a b", "five"]
    assert list(cron_commands(text, 67)) == ["a b", "seven"]
    assert list(cron_commands("* * * * * root date +\\%s", 1)) == ["date +%s"]
