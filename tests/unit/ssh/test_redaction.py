"""Secrets in what a node prints: hidden whole, in pieces, and where the output breaks off."""

from __future__ import annotations

import itertools

import pytest

from ogc_async.ssh.redaction import MARK, Redaction

SECRET = "s3cr3t-s3cr3t-x"


def passed(redaction: Redaction, *pieces: bytes) -> bytes:
    stream = redaction.stream()
    return b"".join([*(stream.feed(piece) for piece in pieces), stream.end()])


@pytest.mark.parametrize("first", range(len(SECRET) + 4))
def test_a_secret_is_hidden_however_its_bytes_arrive(first: int) -> None:
    whole = b"a " + SECRET.encode() + b" b"
    for second in range(first, len(whole)):
        assert passed(Redaction([SECRET]), whole[:first], whole[first:second], whole[second:]) == b"a " + MARK + b" b"


def test_all_else_arrives_byte_for_byte_and_nothing_is_kept_back_at_the_end() -> None:
    data = bytes(range(256)) + b"s3cr3" + SECRET[:5].encode()
    assert passed(Redaction([SECRET]), *(bytes([byte]) for byte in data)) == data


def test_a_secret_that_was_broken_off_is_not_shown_up_to_there() -> None:
    for size in range(6, len(SECRET)):
        assert SECRET[:6].encode() not in passed(Redaction([SECRET]), b"x " + SECRET[:size].encode())


def test_the_longer_of_two_secrets_with_one_beginning_leaves_no_rest() -> None:
    said = Redaction(["password", "password-of-root"]).text("password password-of-root passwor")
    assert said == "[redacted] [redacted] passwor"


def test_a_secret_of_several_lines_is_hidden_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----\n"
    said = Redaction([key]).text(f"  {key.splitlines()[1]}\n> {key.splitlines()[2]}\n")
    assert said == "  [redacted]\n> [redacted]\n"


@pytest.mark.parametrize("short", ["", "a", "true", "12345"])
def test_what_is_too_short_to_guard_anything_is_left_alone(short: str) -> None:
    redaction = Redaction([short])
    assert not redaction
    assert redaction.text("a true 12345") == "a true 12345"


def test_many_secrets_at_once_in_every_order() -> None:
    secrets = ["alpha-alpha", "beta-beta", "alpha-beta"]
    for order in itertools.permutations(secrets):
        assert Redaction(order).text(" ".join(secrets)) == " ".join(["[redacted]"] * 3)
