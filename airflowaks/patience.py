"""The one way to wait: ask again, soon at first and then less often, until it is so or the time is up.

Azure is eventually consistent: a principal, a role or a federated credential that was just made is unknown to other
services for seconds to minutes. Every such wait of the runbook goes through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryError, Retrying, retry_if_exception, retry_if_not_result, stop_after_delay, wait_exponential

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

REPLICATION_SECONDS = 600.0
"""How long Entra and role assignments may take to be known everywhere: Microsoft says up to ten minutes."""
_LONG_RUNNING_SECONDS = 3600.0
_WAIT = wait_exponential(multiplier=0.1, max=15)


def until(ask: Callable[[], T], enough: Callable[[T], bool], seconds: float = _LONG_RUNNING_SECONDS) -> T:
    """Call `ask` until `enough` of its answer, at most for `seconds`, and return the last answer either way."""
    retrying = Retrying(retry=retry_if_not_result(enough), wait=_WAIT, stop=stop_after_delay(seconds))
    try:
        return retrying(ask)
    except RetryError as given_up:
        last: T = given_up.last_attempt.result()
        return last


def despite(
    ask: Callable[[], T], forgivable: Callable[[BaseException], bool], seconds: float = REPLICATION_SECONDS
) -> T:
    """Call `ask` again while it raises what is `forgivable`, at most for `seconds`; then that is raised."""
    retrying = Retrying(retry=retry_if_exception(forgivable), wait=_WAIT, stop=stop_after_delay(seconds), reraise=True)
    return retrying(ask)
