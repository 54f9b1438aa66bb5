"""The trace of a run: what Azure answered to each request, without secrets, names, IDs and addresses.

docs/azure.md describes the file; `airflowaks rehearsal compare` reads it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.pipeline.policies import SansIOHTTPPolicy

from airflowaks.cloud.pseudonyms import Pseudonyms
from airflowaks.cloud.redaction import MASK

if TYPE_CHECKING:
    from pathlib import Path

    from airflowaks.cloud.redaction import Redactor
    from airflowaks.config.environment import Environment

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
        """Write the exchange; a retry is an exchange of its own."""
        sent, answer = request.http_request, response.http_response
        path = urlsplit(sent.url).path
        # Answers that begin a long operation are streamed; requests keeps their bytes for the SDK's own reading.
        streamed = answer.internal_response
        answered = _json(streamed.content) if "json" in answer.headers.get("Content-Type", "") else None
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


def _json(content: Any) -> Any:
    """Return the JSON of a body, or None: forms, archives and logs are left out."""
    try:
        return json.loads(content)
    except (TypeError, ValueError):
        return None
