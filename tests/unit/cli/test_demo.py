from __future__ import annotations

import sys

import pytest

from ogc_async.cli.demo import _looks


@pytest.mark.parametrize(
    ("is_terminal", "term", "kept"),
    [
        (True, "dumb", ["NO_COLOR", "TERM"]),
        (True, "xterm-256color", ["NO_COLOR"]),
        (True, "hostile", ["NO_COLOR"]),
        (False, "dumb", []),
    ],
)
def test_of_a_terminals_variables_the_demonstration_keeps_what_makes_it_plainer(
    is_terminal: bool, term: str, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("TERM", term)
    assert _looks() == kept
