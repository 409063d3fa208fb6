"""Columns have room for what the clouds put into them."""

from __future__ import annotations

from ogc_async.db.models import Node
from ogc_async.plan import new_token

LONGEST_ZONE = "northamerica-northeast2-a"
LONGEST_NAME = 63


def test_ids_names_and_tokens_fit() -> None:
    room = {column.name: getattr(column.type, "length", None) for column in Node.__table__.columns}
    assert room["instance_id"] >= len(LONGEST_ZONE) + 1 + LONGEST_NAME
    assert room["name"] >= LONGEST_NAME
    assert room["token"] >= len(new_token())
    assert room["zone"] >= len(LONGEST_ZONE)
