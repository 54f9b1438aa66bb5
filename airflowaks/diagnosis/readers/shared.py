"""What several parts of a diagnosis need, made by one of them for all: a connection, an answer, or the same error."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.session import Session

T = TypeVar("T")


def shared(session: Session, make: Callable[..., T], *arguments: Any) -> T:
    """Return `make(session, *arguments)`, made once, or raise what it raised: no part waits for a second attempt."""
    made: Future[T] = session.memoize(_attempt, make, *arguments)
    return made.result()


def _attempt(session: Session, make: Callable[..., Any], *arguments: Any) -> Future[Any]:
    made: Future[Any] = Future()
    try:
        made.set_result(make(session, *arguments))
    except Exception as error:  # noqa: BLE001 - whoever asks gets it
        made.set_exception(error)
    return made
