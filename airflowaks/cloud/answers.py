"""Answers that are none of an API's: cut ones, and the web pages of captive portals, proxies and gateways."""

from __future__ import annotations

import re
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from airflowaks.errors import AzureError

_LONGEST_WORDS = 80
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->|<[^>]*>|\s+")
_HOST: ContextVar[str] = ContextVar("host", default="The service")


def note_host(request: Any) -> None:
    """Keep the host that the thread asks, which no error of a cut answer names; a `raw_request_hook`."""
    _HOST.set(str(urlsplit(request.http_request.url).hostname))


def cut_answer(error: BaseException) -> AzureError | None:
    """Return the error for a connection that ended before the whole answer came, with the host that the thread asked.

    None for another error. azure-core raises IncompleteReadError, a HttpResponseError as refusals are, for an answer
    that ends early (`_requests_basic.py`, azure-core 1.41). For one that did not begin it quotes urllib3, which behind
    a proxy says "Unable to connect to proxy" of any connection that ends (`connectionpool.py`, urllib3 2.8).
    """
    from azure.core.exceptions import IncompleteReadError

    if isinstance(error, IncompleteReadError):
        place = "in the middle of the answer"
    elif _was_lost(error):
        place = "before the answer"
    else:
        return None
    return AzureError(
        f"The connection to {_HOST.get()} ended {place}; what was asked may have been done.",
        "Run the step again, which reads first what is there; if it recurs, check the network and its proxy.",
    )


def read(answer: Any) -> bytes:
    """Return the body of a response, which keeps it; the one of azure-mgmt-authorization is of an older kind.

    Raises azure-core's IncompleteReadError for one that ends early.
    """
    content: bytes = answer.read() if hasattr(answer, "read") else answer.body()
    return content


def _was_lost(error: BaseException) -> bool:
    """Tell whether azure-core's error is about a connection that was reset or closed, and not refused."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    if not isinstance(error, (ServiceRequestError, ServiceResponseError)):
        return False
    cause: BaseException | None = error.inner_exception
    while cause is not None and not isinstance(cause, (ConnectionResetError, BrokenPipeError)):
        cause = cause.__context__  # what was being handled, where `from` names a wrapper of it
    return cause is not None


def refuse_web_page(response: Any) -> None:
    """Raise AzureError for a web page, and for one with a status of 500 or more an error that is retried.

    No API of Azure or Kubernetes answers `text/html` to a client that accepts JSON. This is a `raw_response_hook`, all
    that the pipelines of azure-identity and of the SDKs both accept (`CustomHookPolicy`, azure-core 1.41). It runs
    before the retries. Those of a write with POST or PATCH look at the response, so that keeps its way. A sign-in is
    repeated after an error, too (`retry_on_methods` in azure-identity 1.27, `msal_client.py`), and of its response MSAL
    would keep the status alone (`throttled_http_client.py`, msal 1.39).
    """
    answer = response.http_response
    if (page := web_page(answer)) is None:
        return
    if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise page
    looked_at = answer.request.method in ("POST", "PATCH") and not urlsplit(answer.request.url).path.endswith("/token")
    if not looked_at or answer.status_code == HTTPStatus.BAD_GATEWAY:
        from azure.core.exceptions import ServiceResponseError

        raise ServiceResponseError(page.message) from page


def web_page(answer: Any) -> AzureError | None:
    """Return the error for an HTTP response that is a web page: its host and first words; None if it is none."""
    if not is_page((getattr(answer, "headers", None) or {}).get("Content-Type", "")):
        return None
    read(answer)
    return page_of(str(urlsplit(answer.request.url).hostname), answer.status_code, answer.text())


def is_page(form: str) -> bool:
    """Tell whether a Content-Type is that of a web page."""
    return form.lower().startswith("text/html")


def page_of(host: str, status: int, text: str) -> AzureError:
    """Return the error for the web page that a host answered: with its first words."""
    words = " ".join(_MARKUP.sub(" ", text).split())
    seen = f'"{words[:_LONGEST_WORDS]}{"…" if len(words) > _LONGEST_WORDS else ""}"' if words else "without words"
    message = f"{host}: a web page came instead of the API's answer (status {status}): {seen}."
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return AzureError(
            message,
            "Sign in to this network in a browser, or ask its administrators to let the host through; check `proxy` in"
            " the environment file; then run the step again.",
        )
    return AzureError(
        message, "Run the step again in a few minutes; if the page stays, check the network and its proxy."
    )


def web_page_behind(error: BaseException) -> AzureError | None:
    """Return the error for the web page that caused `error`; azure-identity wraps what its pipeline raises."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, AzureError):
        if page := web_page(getattr(cause, "response", None)):
            return page
        cause = cause.__cause__
    return cause
