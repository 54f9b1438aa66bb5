"""Polling: ask again, at first soon and then less often, until a condition holds or the time is up.

Azure is eventually consistent: a principal, a role or a federated credential that was just made is unknown to other
services for seconds to minutes. Every such wait of the runbook goes through here. Tenacity stands inside what needs
it because it imports asyncio, and tornado where that is installed, which take longer than all of the runbook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import Retrying

T = TypeVar("T")

REPLICATION_SECONDS = 600.0
"""How long Entra and role assignments may take to be known everywhere: Microsoft says up to ten minutes."""
_LONG_RUNNING_SECONDS = 3600.0
_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 15.0


def wait_until(
    ask: Callable[[], T],
    enough: Callable[[T], bool],
    seconds: float = _LONG_RUNNING_SECONDS,
    *,
    longest_pause: float = _LONGEST_PAUSE_SECONDS,
) -> T:
    """Call `ask` until `enough` of its answer, at most for `seconds`, and return the last answer either way."""
    from tenacity import RetryError, retry_if_not_result

    try:
        return _retrying(seconds, longest_pause, retry=retry_if_not_result(enough))(ask)
    except RetryError as given_up:
        last: T = given_up.last_attempt.result()
        return last


def retry_on(
    ask: Callable[[], T], forgivable: Callable[[BaseException], bool], seconds: float = REPLICATION_SECONDS
) -> T:
    """Call `ask` again while it raises what is `forgivable`, at most for `seconds`; then that is raised."""
    from tenacity import retry_if_exception

    return _retrying(seconds, _LONGEST_PAUSE_SECONDS, retry=retry_if_exception(forgivable), reraise=True)(ask)


def _retrying(seconds: float, longest_pause: float, **arguments: Any) -> Retrying:
    from tenacity import Retrying, stop_after_delay, wait_exponential

    wait = wait_exponential(multiplier=_SHORTEST_PAUSE_SECONDS, max=longest_pause)
    return Retrying(wait=wait, stop=stop_after_delay(seconds), **arguments)
