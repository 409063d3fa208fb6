"""No verdict without evidence: each operation of the clouds lies to each verb, and no machine is lost by it.

``make crash`` takes the whole matrix; ``make test`` a sample with every operation, every lie and every verb, drawn from
``OGC_CRASH_SEED``. ``OGC_CRASH_AT`` takes the cells whose names contain it, as failures are listed:
``OGC_CRASH_AT="aws rm-all, then sync: DescribeInstances=html"``.
"""

from __future__ import annotations

import os
import random
import shutil
from asyncio import Runner
from collections.abc import Iterator
from pathlib import Path

import pytest

from ogc_async.ssh.keys import generate_key_pair
from tests.kept import kept
from tests.lies.jumping import jumping
from tests.lies.matrix import CLOUDS, Cell, all_cells, perform_all, sample, table


@pytest.fixture(scope="module")
def folder(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair, and a database that every cell begins with."""
    folder = tmp_path_factory.mktemp("lies")
    generate_key_pair(folder / "id_ed25519")
    shutil.copy(sqlite_template, folder / "template.db")
    return folder


@pytest.fixture
def runner() -> Iterator[Runner]:
    with kept(), jumping() as runner:
        yield runner


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_lie_of_a_cloud_costs_a_machine(cloud: str, folder: Path, runner: Runner) -> None:
    seed = int(os.environ.get("OGC_CRASH_SEED") or random.SystemRandom().randrange(10**6))
    whole = runner.run(all_cells(cloud, folder))
    cells = chosen(whole, seed)
    assert cells, "no cell has such a name"
    print(f"\n{cloud}: {len(cells)} of {len(whole)} cells, OGC_CRASH_SEED={seed}")
    wrong = runner.run(perform_all(cells, folder))
    print(table(cells, wrong))
    believed = sum(cell.is_believed for cell in cells)
    print(f"{cloud}: {len(wrong)} cells are wrong; {believed} had lies with no evidence against them")
    listed = "\n".join(f"{cell}:\n    " + "\n    ".join(problems) for cell, problems in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(cells)} cells are wrong, OGC_CRASH_SEED={seed}:\n{listed}"


def chosen(cells: list[Cell], seed: int) -> list[Cell]:
    """The cells of this run, as the environment asks for them."""
    if at := os.environ.get("OGC_CRASH_AT"):
        return [cell for cell in cells if at in str(cell)]
    return cells if os.environ.get("OGC_CRASH") == "full" else sample(cells, seed)
