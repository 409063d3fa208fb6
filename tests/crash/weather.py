"""The trouble that the clouds are in while the program is killed: a sandbox's options, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

LASTS_S = 120
"""Longer than the runs of one sandbox take."""
CLEAR_S = (4.0, 12.0)
"""Between two outages."""
OUTAGE_S = (0.2, 1.5)
"""Shorter than the program's patience with one call."""

SHARES = {"--lost-replies": 0.08, "--duplicates": 0.08, "--late-deaths": 0.15}
"""The most of each."""
THROTTLED = ("RunInstances", "DescribeInstances", "TerminateInstances")
"""EC2's: whoever is throttled on Compute Engine waits for the next minute of the clock, and the run with it."""
MOST_THROTTLING = 0.15
SECONDS = {"--lag": 0.5, "--tag-lag": 0.5}
ZONES = ("us-east-2a", "us-central1-a")
"""The layouts' first zones, which may be nearly full; their second ones never are."""


@dataclass(frozen=True)
class Weather:
    """What a sandbox is told to get wrong."""

    options: tuple[str, ...] = ()

    @classmethod
    def drawn(cls, seed: str) -> Weather:
        """The same seed makes the same weather: about half of all faults, each as bad as it happens to be."""
        return cls(tuple(_options(random.Random(f"{seed} weather"))))

    def __str__(self) -> str:
        return f"; {' '.join(self.options)}" if self.options else ""


CALM = Weather()


def _options(draw: random.Random) -> Iterator[str]:
    yield from ("--seed", str(draw.randrange(10**6)))
    for name, most in (SHARES | SECONDS).items():
        value = draw.uniform(0, most)
        if draw.random() < 0.5:
            yield from (name, f"{value:.3f}")
    throttling = draw.uniform(0, MOST_THROTTLING)
    if draw.random() < 0.5:
        for operation in THROTTLED:
            yield from ("--throttling", f"{operation}={throttling:.3f}")
    if draw.random() < 0.5:
        yield from ("--slowness", f"0:{draw.uniform(0, 0.2):.3f}")
    for zone in ZONES:
        room = draw.randrange(6)
        if draw.random() < 0.5:
            yield from ("--capacity", f"{zone}={room}")
    if draw.random() < 0.5:
        yield from _outages(draw)


def _outages(draw: random.Random) -> Iterator[str]:
    at_s = draw.uniform(*CLEAR_S)
    while at_s < LASTS_S:
        lasts_s = draw.uniform(*OUTAGE_S)
        yield from (draw.choice(("--outage", "--cut")), f"{at_s:.2f}:{lasts_s:.2f}")
        at_s += lasts_s + draw.uniform(*CLEAR_S)
