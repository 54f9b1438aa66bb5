"""Policies of the SDK clients' pipelines: retries, correlation IDs, resource providers that are not registered.

Importing azure-core takes a moment, so sessions import this module at their first client.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy

from airflowaks.cloud.answers import read
from airflowaks.errors import ProviderNotRegistered

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_WAIT_SECONDS = 600
# The second code is some providers', in
# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors; that it has status
# 404 is users' reports. A read that gets it finds nothing, which is true of a provider that is not registered.
_CONFLICT, _NOT_FOUND = 409, 404
_NOT_REGISTERED = {_CONFLICT: "MissingSubscriptionRegistration", _NOT_FOUND: "SubscriptionNotRegistered"}
_WRITES = ("PUT", "POST", "PATCH", "DELETE")


class ShortRetries(RetryPolicy[Any, Any]):
    """azure-core's retries, without those whose Retry-After is longer than ten minutes.

    azure-core sleeps silently for any Retry-After (`RetryPolicyBase.is_retry`, azure-core 1.41), and the window of
    Docker Hub's pull limit is six hours.
    """

    def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
        """Tell whether to send the request again."""
        asked = self.get_retry_after(response) or 0
        again = asked <= _LONGEST_WAIT_SECONDS and super().is_retry(settings, response)
        if again:  # an answer that begins a long operation is streamed, and one that nobody reads keeps its connection
            read(response.http_response)
        return again


@dataclass
class Correlation:
    """Azure's `x-ms-correlation-request-id` of the last write."""

    id: str = ""


_CORRELATION: ContextVar[Correlation | None] = ContextVar("correlation", default=None)


@contextmanager
def correlated() -> Iterator[Correlation]:
    """Collect the correlation ID of the writes made inside."""
    correlation = Correlation()
    reset = _CORRELATION.set(correlation)
    try:
        yield correlation
    finally:
        _CORRELATION.reset(reset)


class NoteCorrelation(SansIOHTTPPolicy[Any, Any]):
    """Keeps the correlation ID of every write for `correlated`."""

    def on_response(self, request: Any, response: Any) -> None:
        """Note the ID of the answer to a write."""
        correlation = _CORRELATION.get()
        if correlation is not None and request.http_request.method in _WRITES:
            headers = response.http_response.headers
            correlation.id = headers.get("x-ms-correlation-request-id", correlation.id)


class RefuseRegistration(SansIOHTTPPolicy[Any, Any]):
    """Has a missing registration fail, where azure-mgmt-core would register without being asked.

    Its ARMAutoResourceProviderRegistrationPolicy does so for reads, too: a plan would write. Step 1 registers.
    """

    def on_response(self, request: Any, response: Any) -> None:
        """Raise ProviderNotRegistered for an answer that says so."""
        sent, status = request.http_request, response.http_response.status_code
        code, finds_nothing = _NOT_REGISTERED.get(status), status == _NOT_FOUND and sent.method not in _WRITES
        # An answer that begins a long operation is streamed: neither policy can read it, and the client raises.
        if code is None or finds_nothing or request.context.options.get("stream"):
            return
        if code in (text := response.http_response.text()):
            named = re.search(r"namespace '([^']+)'", text) or re.search(r".*/providers/([^/?]+)", sent.url)
            namespace = named[1] if named else "…"
            message = f"Azure refused the request ({code}): the subscription lacks {namespace}."
            action = f"Run step 1, which registers what it needs, or `az provider register --namespace {namespace}`."
            raise ProviderNotRegistered(message, action, code)
