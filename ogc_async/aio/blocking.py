"""Coroutine verbs for plain code: ``x = blocking(x_async)``, and calls that plain code can use without ``await``."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from ogc_async.errors import InsideEventLoop

P = ParamSpec("P")
T = TypeVar("T")

SUFFIX = "_async"


def run_blocking(coroutine: Coroutine[Any, Any, T], twin: str, name: str) -> T:
    """Run ``coroutine`` in a loop of its own; what that loop made is closed with it."""
    if _is_inside_loop():
        coroutine.close()
        raise InsideEventLoop(twin, name)
    return asyncio.run(coroutine)


def blocking(verb: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The synchronous twin of a coroutine function, with its signature and docstring.

    The twin raises :class:`InsideEventLoop` where a loop runs already.
    """
    name = verb.__name__
    twin = name.removesuffix(SUFFIX)

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _is_inside_loop():
            raise InsideEventLoop(twin, name)
        return run_blocking(verb(*args, **kwargs), twin, name)

    call.__name__ = twin
    call.__qualname__ = verb.__qualname__.removesuffix(SUFFIX)
    # `wraps` leaves a trail to the coroutine function, which inspect would follow to the wrong answer.
    del call.__wrapped__
    call.__signature__ = inspect.signature(verb)  # type: ignore[attr-defined]  # read by inspect.signature
    return call


class Call(Coroutine[Any, Any, T], Generic[T]):
    """One call of a coroutine verb: a coroutine to await, or, where no loop runs, its own result.

    ``await launch_async(layouts)`` is the normal use. Plain code may also iterate, index, measure or ask ``result()``
    of it: that runs the coroutine once, as the synchronous twin would, and keeps what it returned.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self._coroutine = coroutine
        self._name = name
        self._outcome: list[T] = []

    def result(self) -> T:
        """What the call returns; runs it first where it has not run yet. Not inside a running loop."""
        if not self._outcome:
            self._outcome.append(run_blocking(self._coroutine, f"{self._name}().result", self._name))
        return self._outcome[0]

    def __await__(self) -> Generator[Any, Any, T]:
        if self._outcome:
            return self._outcome[0]
        outcome = yield from self._coroutine.__await__()
        self._outcome.append(outcome)
        return outcome

    def send(self, value: Any, /) -> Any:
        """Step the coroutine, for the event loop."""
        if self._outcome:
            raise StopIteration(self._outcome[0])
        try:
            return self._coroutine.send(value)
        except StopIteration as stop:
            self._outcome.append(stop.value)
            raise

    def throw(
        self,
        typ: Any,
        val: BaseException | object | None = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """Raise inside the coroutine, for the event loop."""
        error = typ if isinstance(typ, BaseException) else typ(val) if val is not None else typ()
        return self._coroutine.throw(error.with_traceback(tb) if tb else error)

    def close(self) -> None:
        """End the coroutine without running it further."""
        self._coroutine.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(cast("Any", self.result()))

    def __len__(self) -> int:
        return len(cast("Any", self.result()))

    def __getitem__(self, index: Any) -> Any:
        return cast("Any", self.result())[index]

    def __bool__(self) -> bool:
        return True if _is_inside_loop() else bool(self.result())

    def __repr__(self) -> str:
        return f"<Call {self._name}{' done' if self._outcome else ''}>"


def verb(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Call[T]]:
    """Make a coroutine function return a :class:`Call`."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return Call(function(*args, **kwargs), function.__name__)

    return call


def _is_inside_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
