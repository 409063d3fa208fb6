"""The dead man's switch: a machine with a time to live ends itself, whatever has become of us."""

from __future__ import annotations

import math
from datetime import timedelta

_CLOUD_CONFIG = """\
#cloud-config
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


def shutdown_after(ttl: timedelta) -> str:
    """User data that shuts the machine down, and so terminates it, ``ttl`` (rounded up to minutes) after first boot.

    It depends on ``ttl`` alone: a moment of the clock in it would make the repeat of a launch another launch.
    """
    return _CLOUD_CONFIG.format(minutes=max(1, math.ceil(ttl.total_seconds() / 60)))
