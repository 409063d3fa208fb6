"""Keeps known secrets out of what a node prints, before anybody stores or shows it."""

from __future__ import annotations

from collections.abc import Iterable

MARK = b"[redacted]"

SHORTEST = 6
"""A shorter secret guards nothing, and to hide it would make holes in every second word."""


class Redaction:
    """Replaces each of these values. A value of several lines, as keys are, is hidden line by line."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        # The longest first: one secret may be the beginning of another.
        self._secrets = sorted(
            (line.encode() for line in lines if len(line) >= SHORTEST), key=lambda each: (-len(each), each)
        )

    def text(self, said: str) -> str:
        """The text without the secrets."""
        return self.apply(said.encode()).decode() if self._secrets else said

    def apply(self, data: bytes) -> bytes:
        """The bytes without the secrets."""
        for secret in self._secrets:
            data = data.replace(secret, MARK)
        return data

    def begun(self, data: bytes) -> int:
        """How many of the last bytes may be the beginning of a secret."""
        longest = 0
        for secret in self._secrets:
            for size in range(min(len(secret) - 1, len(data)), longest, -1):
                if data.endswith(secret[:size]):
                    longest = size
                    break
        return longest

    def stream(self) -> RedactedStream:
        """For data that comes in pieces."""
        return RedactedStream(self)

    def __bool__(self) -> bool:
        return bool(self._secrets)


class RedactedStream:
    """Passes data on, except for what may turn out to be a secret once more of it has come."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take in more; returns what can be passed on."""
        if not self._redaction:
            return data
        clean = self._redaction.apply(self._held + data)
        begun = self._redaction.begun(clean)
        self._held = clean[len(clean) - begun :]
        return clean[: len(clean) - begun]

    def end(self) -> bytes:
        """The rest. A secret that was broken off is hidden as well, but for its first few letters alone."""
        held, self._held = self._held, b""
        return MARK if len(held) >= SHORTEST else held
