"""The faults of the sweep: what a network, a gateway or a busy service does to one request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

_PORTAL = b"<html><head><title>Guest network</title></head><body><h1>Please sign in to continue</h1></body></html>"
_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_HTML = (b"content-type", b"text/html; charset=utf-8")


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


PAGES = {"HTML 200": Answer(200, _PORTAL, [_HTML]), "HTML 502": Answer(502, _GATEWAY, [_HTML])}
REFUSALS = {
    "429": (429, "TooManyRequests", "The request is being throttled."),
    "500": (500, "InternalServerError", "The server encountered an internal error."),
    "503": (503, "ServiceUnavailable", "The service is temporarily unavailable."),
}
AFTER = ("reset after", "cut", "slow", "client killed after", "daemon killed after")
"""The faults that happen once the request has been served."""
FAULTS = (*REFUSALS, "reset before", "reset after", "cut", "slow", *PAGES)
KILLS = ("client killed before", "client killed after", "daemon killed before", "daemon killed after")


def refusal(fault: str, host: str) -> Answer:
    """Return a service's refusal in the format of that host."""
    status, code, message = REFUSALS[fault]
    if host == "kubernetes":  # https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": code, "message": message}
        document = {**body, "code": status}
    elif host == "login.microsoftonline.com":  # RFC 6749, section 5.2
        document = {"error": "temporarily_unavailable", "error_description": f"AADSTS90033: {message}"}
    elif host.endswith(".azurecr.io"):  # https://distribution.github.io/distribution/spec/api, "Errors"
        document = {"errors": [{"code": code.upper(), "message": message}]}  # type: ignore[dict-item]
    else:  # https://github.com/microsoft/api-guidelines/blob/vNext/azure/Guidelines.md, "Handling errors"
        document = {"error": {"code": code, "message": message}}  # type: ignore[dict-item]
    retry = [(b"retry-after", b"1")] if fault == "429" else []
    return Answer(status, json.dumps(document).encode(), [(b"content-type", b"application/json"), *retry])
