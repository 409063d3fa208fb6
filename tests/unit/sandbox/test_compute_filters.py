"""Compute Engine's filters and partial replies."""

from __future__ import annotations

from typing import Any

import pytest

from ogc_async.sandbox.compute import fields, filters
from ogc_async.sandbox.compute.errors import Refused

NAMES = ("name", "status", "labels", "scheduling", "tags")
THING: dict[str, Any] = {
    "name": "vm-1",
    "status": "RUNNING",
    "labels": {"colour": "blue", "ogc_async-x": "1"},
    "scheduling": {"preemptible": False},
    "tags": {"items": ["ssh", "web"]},
}


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("", True),
        ("name = vm-1", True),
        ("name=vm-2", False),
        ('labels.colour = "blue"', True),
        ("labels.colour != blue", False),
        ("labels.shade != blue", True),
        ("labels.colour:*", True),
        ("labels.shade:*", False),
        ("labels.ogc_async-x=1", True),
        ("name:vm", True),
        ("tags.items:web", True),
        ("scheduling.preemptible = false", True),
        ("(name = vm-1) AND (status = RUNNING)", True),
        ("(name = vm-1) (status = STAGING)", False),
        ("(name = vm-2) OR (status = RUNNING)", True),
        # OR binds tighter: a AND (b OR c), whatever the order.
        ("(name = vm-1) OR (name = vm-2) AND (status = STAGING)", False),
        ("((name = vm-2) AND (status = RUNNING)) OR (labels.colour = blue)", True),
        ("name eq vm-.", True),
        ("name eq vm", False),
        ("name ne 'vm-.*'", False),
        ('(name eq "vm-[0-9]") (status eq RUN.*)', True),
    ],
)
def test_what_a_filter_lets_through(text: str, is_so: bool) -> None:
    assert filters.parse(text, NAMES)(THING) is is_so


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "name =",
        "= x",
        "(name = x",
        "name = x)",
        "nope = x",
        "name > x",
        "name = a AND",
        "name eq [",
        "name = x*",
        "(name eq a) AND (status = b)",
        'name = "a',
        "NOT name = a",
        "labels..x = a",
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(Refused) as caught:
        filters.parse(text, NAMES)
    assert (caught.value.status, caught.value.reason) == (400, "invalid")


def test_a_part_of_a_reply() -> None:
    reply = {"kind": "list", "items": [THING, {"name": "vm-2"}], "nextPageToken": "x"}
    assert fields.select(reply, "") == reply
    assert fields.select(reply, "items/name,kind") == {"kind": "list", "items": [{"name": "vm-1"}, {"name": "vm-2"}]}
    chosen = fields.select(reply, "items(labels/colour, tags(items))")
    assert chosen == {"items": [{"labels": {"colour": "blue"}, "tags": {"items": ["ssh", "web"]}}, {}]}
    assert fields.select(reply, "items/*/colour")["items"][0]["labels"] == {"colour": "blue"}


@pytest.mark.parametrize("text", ["items(", "items)", ",", "a//b", "a(b", "a b", "a;b"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(Refused):
        fields.select({"a": {"b": 1}}, text)
