"""Measures, draws, reports: ``python -m benchmarks quick``, ``full``, or ``report`` for what was measured before."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import database, environments, report, scale
from benchmarks.contest import tell
from benchmarks.deploy import race as deploy
from benchmarks.launch import race as launch

OGC = "ogc 2.1.9"
ANSIBLE = "ansible-core, pipelining"
SYNC = "pyinfra, files.sync"
SSH = "ssh under xargs -P"

LAPS = {50: 9, 200: 3, 500: 3}
"""The smaller the fleet, the more one lap differs from the next."""

Measures = Mapping[str, Callable[[], dict[str, Any]]]

QUICK: Measures = {
    "launch": lambda: launch.measure(
        launch.Plan(counts=(20, 200), runs=2, crash_count=20, time_scale=5, most={OGC: 20}, long_lap_s=9)
    ),
    "deploy": lambda: deploy.measure(deploy.Plan(laps=LAPS, most={ANSIBLE: 50, SYNC: 50, SSH: 50}, long_lap_s=10)),
    "scale": lambda: scale.measure(scale.Plan(counts={"google": (1, 10, 100, 1000)}, runs=1, boot=(3, 5))),
    "database": lambda: database.measure(runs=3, seconds=1),
}
"""Minutes."""

FULL: Measures = {
    "launch": lambda: launch.measure(
        launch.Plan(counts=(10, 50, 200, 500), runs=3, crash_count=50, time_scale=2.5, most={OGC: 200}, long_lap_s=60)
    ),
    "deploy": lambda: deploy.measure(deploy.Plan(laps=LAPS, most={}, long_lap_s=40)),
    "scale": lambda: scale.measure(
        scale.Plan(counts={"aws": (1, 10, 100, 1000), "google": (1, 10, 100, 1000, 10_000)}, runs=1, boot=(20, 30))
    ),
    "database": lambda: database.measure(runs=5, seconds=3),
}
"""70 minutes."""


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("mode", choices=("quick", "full", "report"))
    parser.add_argument("--only", choices=report.KINDS, action="append", help="this measurement; may be given again")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="folder of the JSON files and plots")
    options = parser.parse_args()
    environments.isolate_benchmark()
    # Ended in order, it takes contestants, clouds and servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.mode != "report":
        _measure(options.mode, options.only or report.KINDS, options.results)
    from benchmarks import plots  # of the bench group: measuring does without

    plots.draw(options.results)
    report.write(options.results)
    return 0


def _measure(mode: str, kinds: list[str], folder: Path) -> None:
    measures = {"quick": QUICK, "full": FULL}[mode]
    for name in environments.names():
        # One that can not be made is told in the results, as its contestant's failure.
        with suppress(environments.NoEnvironment):
            environments.python_of(name)
    for kind in kinds:
        begun = time.monotonic()
        result = {"mode": mode, **measures[kind]()}
        result["seconds_taken"] = round(time.monotonic() - begun)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind}.json").write_text(json.dumps(result, indent=1) + "\n")
        tell(f"{kind}: measured in {result['seconds_taken']} s")


if __name__ == "__main__":
    sys.exit(main())
