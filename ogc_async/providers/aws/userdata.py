"""What a machine is told at its launch, as cloud-init reads it: when to end itself, and which host key to show."""

from __future__ import annotations

import math
from datetime import timedelta
from textwrap import indent

from ogc_async.types import HostKey

_DEAD_MANS_SWITCH = """\
write_files:
- path: /var/lib/cloud/scripts/per-boot/ogc-ttl
  permissions: "0755"
  content: |
    #!/bin/sh
    # Ends this machine {minutes} minutes after its first boot; a reboot neither cancels that nor starts over.
    deadline=/var/lib/cloud/ogc-deadline
    if [ ! -s "$deadline" ]; then
        echo "$(($(date +%s) + 60 * {minutes}))" > "$deadline"
        shutdown -h +{minutes}
        exit
    fi
    left=$((($(cat "$deadline") - $(date +%s) + 59) / 60))
    [ "$left" -gt 0 ] || left=0
    shutdown -h "+$left"
"""

_HOST_KEY = """\
ssh_keys:
  ed25519_public: {public}
  ed25519_private: |
{private}"""


def user_data(ttl: timedelta | None, host_key: HostKey | None) -> str:
    """One cloud-config of what is given, or "" where nothing is.

    It depends on these values alone: a moment of the clock in it would make the repeat of a launch another launch.
    """
    said = ""
    if ttl is not None:
        said += _shutdown_after(ttl)
    if host_key is not None:
        said += _show(host_key)
    return f"#cloud-config\n{said}" if said else ""


def _shutdown_after(ttl: timedelta) -> str:
    """The dead man's switch: the machine ends itself, whatever has become of us.

    It shuts down, and so is terminated, ``ttl`` (rounded up to minutes) after its first boot.
    """
    return _DEAD_MANS_SWITCH.format(minutes=max(1, math.ceil(ttl.total_seconds() / 60)))


def _show(host_key: HostKey) -> str:
    """cloud-init removes the image's host keys and installs this one alone, before sshd starts (``cc_ssh``)."""
    return _HOST_KEY.format(public=host_key.public, private=indent(host_key.private, "    "))
