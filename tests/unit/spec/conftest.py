"""Specs written into a working folder of their own, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ogc_async.errors import SpecError
from ogc_async.spec import Spec, SpecLoader

HEAD = """\
name: demo
ssh-keys:
  private: keys/id_ed25519
layouts:
  web:
    provider: aws
    runs-on: ubuntu-2404
    instance-size: t3.small
"""
"""A whole spec of eight lines; what is appended continues the layout ``web`` on line 9."""

Load = Callable[..., Spec]
Problems = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write the texts as ogc.yml, 2.yml, 3.yml … into the working folder and load them."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(*texts: str | bytes) -> Spec:
        names = ["ogc.yml", *(f"{number}.yml" for number in range(2, len(texts) + 1))]
        for name, text in zip(names, texts, strict=True):
            Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return SpecLoader.load(names)

    return write_and_load


@pytest.fixture
def problems(load: Load) -> Problems:
    """Every problem of the texts as the user reads it, in order."""

    def told(*texts: str | bytes) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(*texts)
        assert str(caught.value).splitlines()[0].startswith(str(caught.value.problems[0]).splitlines()[0])
        return [str(problem) for problem in caught.value.problems]

    return told
