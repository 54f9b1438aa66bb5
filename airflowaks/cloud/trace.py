"""The trace of a run: what Azure answered to each request, without secrets, names, IDs and addresses.

docs/azure.md describes the file; `airflowaks rehearsal compare` reads it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import IncompleteReadError
from azure.core.pipeline.policies import SansIOHTTPPolicy

from airflowaks.cloud.pseudonyms import Pseudonyms
from airflowaks.cloud.redaction import MASK

if TYPE_CHECKING:
    from pathlib import Path

    from airflowaks.cloud.redaction import Redactor
    from airflowaks.config.environment import Environment

_LOG = logging.getLogger(__name__)
_HEADERS = (
    "Azure-AsyncOperation",
    "Content-Type",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "x-ms-retry-after-ms",
)
_SECRET_ANSWERS = re.compile(r"/(list\w*(keys|credentials?|secrets)|regenerate\w*|oauth2/\w+|token)$", re.IGNORECASE)


class Trace(SansIOHTTPPolicy[Any, Any]):
    """A policy that appends each exchange to `file` as a line of JSON. Thread-safe."""

    def __init__(self, environment: Environment, redactor: Redactor, folder: Path) -> None:
        """Create the file, which only its owner may read, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        start = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._descriptor, path = tempfile.mkstemp(".jsonl", f"trace-{environment.name}-{start}-", folder)
        self.file = path
        self._started = time.monotonic()
        self._redactor = redactor
        self._lock = threading.Lock()
        self._pseudonyms = Pseudonyms(environment.names, environment.location)
        self.note("subscription", environment.subscription_id)
        self.note("tenant", environment.tenant_id)

    def note(self, role: str, guid: str) -> None:
        """Write which pseudonym stands for the subscription, the tenant or the operator."""
        with self._lock:
            self._append({role: self._pseudonyms.text(guid)})

    def on_response(self, request: Any, response: Any) -> None:
        """Write the exchange; a retry is an exchange of its own.

        What keeps it from being written is logged, and ends no run. A cut answer raises azure-core's error.
        """
        answer = response.http_response
        content = _content(answer) if "json" in answer.headers.get("Content-Type", "") else None
        try:
            self._write(request.http_request, answer, _json(content))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is worth more than its trace
            _LOG.warning(
                "The trace lacks an exchange (%s): %s", type(error).__name__, self._redactor.redact(str(error))
            )

    def _write(self, sent: Any, answer: Any, answered: Any) -> None:
        path = urlsplit(sent.url).path
        with self._lock:
            self._pseudonyms.keep_roles(str(sent.body))
            self._append(
                {
                    "at": round(time.monotonic() - self._started, 1),
                    "method": sent.method,
                    "url": self._pseudonyms.url(sent.url),
                    "request": self._body(path, _json(sent.body)),
                    "status": answer.status_code,
                    "headers": {
                        name: self._pseudonyms.url(value) if "://" in value else self._pseudonyms.text(value)
                        for name in _HEADERS
                        if (value := answer.headers.get(name)) is not None
                    },
                    "response": MASK if answered and _SECRET_ANSWERS.search(path) else self._body(path, answered),
                }
            )

    def _body(self, path: str, body: Any) -> Any:
        if re.match("/secrets/", path) and isinstance(body, dict) and "value" in body:  # a vault's
            body = body | {"value": MASK if isinstance(body["value"], str) else body["value"]}
        return self._pseudonyms.document(body)

    def _append(self, line: dict[str, Any]) -> None:
        text = self._redactor.redact(json.dumps(line, ensure_ascii=False))
        os.write(self._descriptor, f"{text}\n".encode())


def _content(answer: Any) -> bytes:
    """Return a body. That of an answer that begins a long operation is streamed; requests keeps it for the SDK."""
    from requests.exceptions import ChunkedEncodingError

    try:
        content: bytes = answer.internal_response.content
    except ChunkedEncodingError as cut:  # the error of azure-core's own reading
        raise IncompleteReadError(cut, error=cut) from cut
    return content


def _json(content: Any) -> Any:
    """Return the JSON of a body, or None: forms, archives and logs are left out."""
    try:
        return json.loads(content)
    except (TypeError, ValueError):
        return None
