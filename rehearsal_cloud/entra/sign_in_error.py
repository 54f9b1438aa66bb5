"""Entra's errors at sign-in. Source: https://learn.microsoft.com/entra/identity-platform/reference-error-codes."""

from __future__ import annotations

import html
import uuid
from datetime import UTC, datetime

from starlette.responses import HTMLResponse, JSONResponse

AUTHORITY = "https://login.microsoftonline.com"


class SignInError(Exception):
    """Entra's answer to a failed sign-in: an OAuth error with an AADSTS code in its description."""

    def __init__(self, status: int, error: str, aadsts: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.aadsts = aadsts
        self.text = text

    def response(self) -> JSONResponse:
        """Return the answer in the format of RFC 6749 with Entra's additions."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        description = (
            f"AADSTS{self.aadsts}: {self.text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"
        )
        body = {
            "error": self.error,
            "error_description": description,
            "error_codes": [self.aadsts],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{AUTHORITY}/error?code={self.aadsts}",
        }
        return JSONResponse(body, self.status)

    def page(self) -> HTMLResponse:
        """Return the page that a browser shows, where the error cannot be sent to the application."""
        text = html.escape(f"AADSTS{self.aadsts}: {self.text}")
        body = f"<!doctype html><title>Sign in: error</title><h1>Sorry, we could not sign you in</h1><p>{text}</p>"
        return HTMLResponse(body, self.status)
