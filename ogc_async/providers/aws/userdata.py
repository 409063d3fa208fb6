"""What a machine is told at its launch, as cloud-init reads it: when to end itself, and which host key to show."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import cache
from importlib.resources import files
from textwrap import indent

from ogc_async.types import HostKey, Then

END_PATH = "/usr/local/sbin/ogc-end"
"""Where a machine has the script that ends it; ``ogc-end.sh`` is its text."""

_SERVICE = f"""\
[Unit]
Description=End this machine when its time to live is over

[Service]
Type=oneshot
ExecStart=/bin/sh {END_PATH}
TimeoutStartSec=50s
"""
"""A try that hangs is over before the next minute: systemd starts no service that is starting."""

_TIMER = """\
[Unit]
Description=Look once a minute whether the time to live of this machine is over

[Timer]
OnBootSec=1min
OnUnitActiveSec=1min
AccuracySec=1s

[Install]
WantedBy=timers.target
"""

_AT_BOOT = f"""\
#!/bin/sh
# Has {END_PATH} run once a minute, by systemd, or by cron where there is none; and once now.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
systemctl daemon-reload
systemctl enable ogc-end.timer
systemctl start ogc-end.timer ||
    echo '* * * * * root /bin/sh {END_PATH}' > /etc/cron.d/ogc-end
exec sh {END_PATH}
"""

_HOST_KEY = """\
ssh_keys:
  ed25519_public: {public}
  ed25519_private: |
{private}"""


def user_data(ttl: timedelta | None, host_key: HostKey | None, *, stops_at_end: bool = False) -> str:
    """One cloud-config of what is given, or "" where nothing is; far below the 16 KiB that EC2 takes.

    It depends on these values alone: a moment of the clock in it would make the repeat of a launch another launch.
    """
    said = ""
    if ttl is not None:
        said += _ends(end_script(ttl, Then.STOP if stops_at_end else Then.END))
    if host_key is not None:
        said += _show(host_key)
    return f"#cloud-config\n{said}" if said else ""


def end_script(ttl: timedelta, then: Then) -> str:
    """The script that powers a machine off once its life is over, whatever has become of this program.

    ``ttl`` counts from its boot, in seconds rounded up. What the power-off makes of the machine is the launch call's
    ``InstanceInitiatedShutdownBehavior``.
    """
    life_s = max(1, math.ceil(ttl.total_seconds()))
    return _template().replace("@LIFE_S@", str(life_s)).replace("@THEN@", str(then))


@cache
def _template() -> str:
    return files(__package__).joinpath("ogc-end.sh").read_text(encoding="utf-8")


def _ends(script: str) -> str:
    """The script, what runs it once a minute, and what starts that at each boot (``cc_write_files``)."""
    return "write_files:\n" + "".join(
        f'- path: {path}\n  permissions: "{mode}"\n  content: |\n{indent(text, "    ")}'
        for path, mode, text in (
            (END_PATH, "0755", script),
            ("/etc/systemd/system/ogc-end.service", "0644", _SERVICE),
            ("/etc/systemd/system/ogc-end.timer", "0644", _TIMER),
            ("/var/lib/cloud/scripts/per-boot/ogc-end", "0755", _AT_BOOT),
        )
    )


def _show(host_key: HostKey) -> str:
    """cloud-init removes the image's host keys and installs this one alone, before sshd starts (``cc_ssh``)."""
    return _HOST_KEY.format(public=host_key.public, private=indent(host_key.private, "    "))
