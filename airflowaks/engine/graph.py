"""Running work that depends on other work: in the order of the dependencies, side by side where they allow it."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

N = TypeVar("N")
T = TypeVar("T")

_WORKERS = 16
"""Nine resource providers, each of which takes Azure a minute or two, register at the same time."""


def run_in_order(
    graph: Mapping[N, Iterable[N]], work: Callable[[N], T], *, on_interrupt: Callable[[], None] = lambda: None
) -> Iterator[tuple[N, Future[T]]]:
    """Call `work` with each node of `graph` once the nodes that it depends on are done; yield each node as it ends.

    After a failure, and after an interrupt from the keyboard, no more work begins; what runs is waited for, then the
    first of these is raised. At an interrupt, or where the caller stops iterating, `on_interrupt` is called to end the
    work that runs; a second interrupt is raised at once.
    """
    order = TopologicalSorter(graph)
    order.prepare()
    ready: list[N] = []
    running: dict[Future[T], N] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            while order.is_active():
                ready += order.get_ready()
                while ready and failure is None and len(running) < _WORKERS:
                    node = ready.pop(0)
                    running[pool.submit(copy_context().run, work, node)] = node
                if not running:
                    break
                try:
                    ended = wait(running, return_when=FIRST_COMPLETED).done
                except KeyboardInterrupt as interrupt:
                    if isinstance(failure, KeyboardInterrupt):
                        raise
                    failure = interrupt
                    on_interrupt()
                    continue
                for future in ended:
                    node = running.pop(future)
                    if error := future.exception():
                        failure = failure or error
                    else:
                        order.done(node)
                    yield node, future
        except BaseException:
            on_interrupt()
            raise
    if failure is not None:
        raise failure
