"""Layouts to plan with."""

from __future__ import annotations

from ogc_async.spec import Layout


def make_layout(name: str = "web", **values: object) -> Layout:
    """A layout with keys of a spec, underscores for hyphens."""
    return Layout.from_dict(
        {
            "name": name,
            "provider": "aws",
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "ssh-keys": {"private": "/keys/id"},
            **{key.replace("_", "-"): value for key, value in values.items()},
        }
    )
