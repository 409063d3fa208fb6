"""Which machines come to the end that their layout asks for, by themselves: known of each cloud without a call."""

from __future__ import annotations

from ogc_async.types import Then

_LEAVE_OUT = "leave the ttl out, or launch it on Compute Engine, which ends its machines itself"


def why_no_end(
    cloud: str, *, runs_on: str, platform: str, has_cloud_init: bool, is_spot: bool, then: Then
) -> str | None:
    """Why such machines of that cloud would not come to such an end; ``None`` where they do.

    Compute Engine ends and stops machines itself, whatever runs on them. On EC2 the machine does, by what cloud-init
    installs there.
    """
    if cloud != "aws":
        return None
    if platform == "windows" or runs_on.lower().startswith("windows"):
        return f"cannot be kept on a Windows machine of EC2: no switch of ours runs there; {_LEAVE_OUT}"
    if not has_cloud_init:
        return (
            f"cannot be kept: the image {runs_on} is not known to have cloud-init, which installs what ends a machine"
            " of EC2; say `ready: cloud-init` if it has, or else leave the ttl out"
        )
    if is_spot and then is Then.STOP:
        return "cannot stop a spot machine of EC2, which can only end; say `then: end`, or leave spot out"
    return None
