"""Polling: ask again, at first soon and then less often, until a condition holds or the time is up.

Azure is eventually consistent: a principal, a role or a federated credential that was just made is unknown to other
services for seconds to minutes. Every such wait of the runbook goes through here. Tenacity stands inside what needs
it because it imports asyncio, and tornado where that is installed, which take longer than all of the runbook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tenacity import RetryCallState, Retrying

T = TypeVar("T")

REPLICATION_SECONDS = 600.0
"""How long Entra and role assignments may take to be known everywhere: Microsoft says up to ten minutes."""
_LONG_RUNNING_SECONDS = 3600.0
_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 15.0
_LOST = 0.02
"""The part of a wait that may be lost after what it waits for has happened, once this is more than half a second."""
_SMALL_SECONDS, _EARLY = 0.5, 0.1


def wait_until(
    ask: Callable[[], T],
    enough: Callable[[T], bool],
    seconds: float = _LONG_RUNNING_SECONDS,
    *,
    longest_pause: float = _LONGEST_PAUSE_SECONDS,
    stop: threading.Event | None = None,
) -> T:
    """Call `ask` until `enough` of its answer, at most for `seconds`, and return the last answer either way.

    `stop` ends the wait before. The longer it takes, the longer are the pauses: at most 2 % of its time is lost.
    """
    from tenacity import RetryError, retry_if_not_result, sleep_using_event, stop_after_delay, stop_when_event_set

    def pause(state: RetryCallState) -> float:
        waited = state.seconds_since_start or 0.0
        return min(max(_SHORTEST_PAUSE_SECONDS, min(_EARLY * waited, _SMALL_SECONDS), _LOST * waited), longest_pause)

    arguments: dict[str, Any] = {"wait": pause, "retry": retry_if_not_result(enough)}
    if stop is not None:
        arguments |= {"stop": stop_after_delay(seconds) | stop_when_event_set(stop), "sleep": sleep_using_event(stop)}
    try:
        return _retrying(seconds, **arguments)(ask)
    except RetryError as given_up:
        last: T = given_up.last_attempt.result()
        return last


def retry_on(
    ask: Callable[[], T], forgivable: Callable[[BaseException], bool], seconds: float = REPLICATION_SECONDS
) -> T:
    """Call `ask` again while it raises what is `forgivable`, at most for `seconds`; then that is raised."""
    from tenacity import retry_if_exception, wait_exponential

    pause = wait_exponential(multiplier=_SHORTEST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)
    return _retrying(seconds, wait=pause, retry=retry_if_exception(forgivable), reraise=True)(ask)


def _retrying(seconds: float, **arguments: Any) -> Retrying:
    from tenacity import Retrying, stop_after_delay

    return Retrying(**{"stop": stop_after_delay(seconds), **arguments})
