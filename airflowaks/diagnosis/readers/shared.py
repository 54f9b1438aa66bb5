"""What several parts of a diagnosis need, made by one of them for all: a connection, an answer, or the same error."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.session import Session

T = TypeVar("T")


def shared(session: Session, make: Callable[..., T], *arguments: Any) -> T:
    """Return `make(session, *arguments)`, made once, or raise what it raised: no part waits for a second attempt."""
    future: Future[T] = session.memoize(_begin, make, *arguments)
    return future.result()


def _begin(session: Session, make: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Begin in a thread: the session's lock, which is held meanwhile, is everybody's."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(make, session, *arguments)
    pool.shutdown(wait=False)
    return future
