"""Parameters in, XML out."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from ogc_async.sandbox.ec2.errors import Refused
from ogc_async.sandbox.ec2.wire import Parameters, error_reply, reply


def read(*pairs: tuple[str, str]) -> Parameters:
    return Parameters.of(pairs)


def test_dotted_names_make_structures_and_lists_in_the_order_of_their_numbers() -> None:
    parameters = read(
        ("Filter.1.Name", "tag:a"),
        ("Filter.1.Value.2", "second"),
        ("Filter.1.Value.10", "tenth"),
        ("Filter.1.Value.1", "first"),
        ("Placement.AvailabilityZone", "z"),
        ("DryRun", "true"),
    )
    [only] = parameters.groups("Filter")
    assert only.text("Name") == "tag:a"
    assert only.texts("Value") == ["first", "second", "tenth"]
    assert parameters.group("Placement").text("AvailabilityZone") == "z"
    assert parameters.flag("DryRun")
    assert parameters.texts("Owner") == []
    assert read(("KeyName", "alone")).texts("KeyName") == ["alone"]


@pytest.mark.parametrize(
    ("pairs", "call", "code"),
    [
        ([], lambda p: p.required("ImageId"), "MissingParameter"),
        ([("MaxCount", "many")], lambda p: p.number("MaxCount", 1), "InvalidParameterValue"),
        ([("Force", "maybe")], lambda p: p.flag("Force"), "InvalidParameterValue"),
        ([("A.1", "x")], lambda p: p.text("A"), "InvalidParameterValue"),
        ([("A", "x")], lambda p: p.groups("A"), "InvalidParameterValue"),
        ([("A.x", "y")], lambda p: p.texts("A"), "InvalidParameterValue"),
        ([("Wings", "2")], lambda p: p.check_known({"ImageId"}), "UnknownParameter"),
    ],
)
def test_what_can_not_be_read_is_refused_in_ec2s_words(pairs, call, code: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Refused) as caught:
        call(read(*pairs))
    assert caught.value.code == code


def test_a_name_that_is_a_value_and_a_structure_is_refused() -> None:
    with pytest.raises(Refused, match="two ways"):
        read(("A", "x"), ("A.1", "y"))


def test_fingerprints_differ_by_what_is_asked_and_by_nothing_else() -> None:
    one = read(("ClientToken", "t"), ("A.1", "x"), ("B", "y"))
    same = read(("B", "y"), ("A.1", "x"), ("ClientToken", "other"))
    other = read(("B", "y"), ("A.1", "z"), ("ClientToken", "t"))
    prints = [each.fingerprint(without=["ClientToken"]) for each in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_replies_are_well_formed_whatever_is_in_them() -> None:
    fields = {
        "text": "<a> & \x00 \ud7ff",
        "flag": True,
        "number": 3,
        "absent": None,
        "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "set": [{"key": "a"}, {"key": "b"}],
    }
    root = ElementTree.fromstring(reply("DoIt", fields, "id-1"))
    space = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
    assert root.tag == f"{space}DoItResponse"
    assert [each.tag.removeprefix(space) for each in root] == ["requestId", "text", "flag", "number", "when", "set"]
    assert [each.text for each in root][:5] == [
        "id-1",
        "<a> & \N{REPLACEMENT CHARACTER} \ud7ff",
        "true",
        "3",
        "2026-01-02T03:04:05.000Z",
    ]
    assert [each.findtext(f"{space}key") for each in root[5]] == ["a", "b"]


def test_errors_have_their_own_form() -> None:
    root = ElementTree.fromstring(error_reply(Refused("Some.Code", "<why>"), "id-1"))
    assert (root.findtext("Errors/Error/Code"), root.findtext("Errors/Error/Message")) == ("Some.Code", "<why>")
    assert root.findtext("RequestID") == "id-1"
