"""What a run could not try on this machine: it is told at the end, and never passes for tried."""

from __future__ import annotations

from typing import NoReturn

import pytest

MARK = "not tried: "


def not_tried(what: str, why: str) -> NoReturn:
    """End the test, and have the run's report say so."""
    pytest.skip(f"{MARK}{what}: {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List everything that was not tried, with its reason, below a heading of its own."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")]
    told = [reason.partition(MARK)[2] for reason in reasons if MARK in reason]
    if told:
        terminalreporter.section("NOT TRIED on this machine", yellow=True)
        for reason in sorted(set(told)):
            terminalreporter.line(f"{told.count(reason)} x {reason}")
