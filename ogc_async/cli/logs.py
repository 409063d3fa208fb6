"""Where the library's log goes: to stderr as far as is asked for, and whole into a file."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ogc_async.cli.voice import err
from ogc_async.errors import SettingsError

LAYOUT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Spoken(logging.Handler):
    """Writes through the console that the live display is on, so that neither tears the other."""

    def __init__(self, *, is_json: bool) -> None:
        super().__init__()
        self._is_json = is_json

    def emit(self, record: logging.LogRecord) -> None:
        """Say one line."""
        said = self.format(record)
        if self._is_json:
            said = json.dumps({"log": {"level": record.levelname, "name": record.name, "message": record.getMessage()}})
        err.print(said, markup=False, style="" if self._is_json else "dim")


def set_up(verbosity: int, log_file: Path | None, *, is_json: bool) -> None:
    """Let the log be heard. Raises ``SettingsError`` where the file can not be written."""
    spoken = _Spoken(is_json=is_json)
    spoken.setLevel(LEVELS[min(verbosity, 2)])
    handlers: list[logging.Handler] = [spoken]
    if log_file is not None:
        try:
            handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"--log-file {log_file}: can not be written: {error.strerror}") from None
    ours = logging.getLogger("ogc_async")
    ours.setLevel(logging.DEBUG)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(LAYOUT))
        ours.addHandler(handler)
