"""Modules that are imported when they are first used: most commands, and every help text, need few of them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


def lazy_module(name: str) -> ModuleType:
    """The module of that name, which is imported once one of its attributes is asked for.

    Threads may ask at the same time, as they may import at the same time. Raises ``ModuleNotFoundError`` not here,
    but where it is first used.
    """
    return _Lazy(name)


class _Lazy(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.__name__), attribute)
