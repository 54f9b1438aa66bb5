"""Retries of requests to Azure, which wait as the answers ask, but no longer than an operator would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core.pipeline.policies import RetryPolicy

_LONGEST_WAIT_SECONDS = 600


def short_retries(**options: Any) -> RetryPolicy[Any, Any]:
    """Return azure-core's retries, without those whose Retry-After is longer than ten minutes.

    azure-core sleeps silently for any Retry-After (`RetryPolicyBase.is_retry`, azure-core 1.41), and the window of
    Docker Hub's pull limit is six hours.
    """
    from azure.core.pipeline.policies import RetryPolicy

    class ShortRetries(RetryPolicy[Any, Any]):
        """Retries unless the answer asks to wait too long."""

        def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
            asked = self.get_retry_after(response) or 0
            return asked <= _LONGEST_WAIT_SECONDS and super().is_retry(settings, response)

    return ShortRetries(**options)
