"""How each of Azure's front doors says no: Resource Manager, Entra, Graph and the data planes have a shape each."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse


class Refusal(Exception):
    """An answer that is an error: HTTP status, Azure's error code and its text; `inner` is the code's detail."""

    def __init__(
        self, status: int, code: str, message: str, *, inner: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}

    def error(self) -> dict[str, Any]:
        """Return the error object that Resource Manager, Graph and Key Vault put under `error`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return error

    def response(self) -> JSONResponse:
        """Return the answer in the shape of Resource Manager, Graph and Key Vault."""
        return JSONResponse({"error": self.error()}, self.status, self.headers)


class RegistryRefusal(Refusal):
    """A refusal by a container registry, in the shape of the OCI distribution API."""

    def response(self) -> JSONResponse:
        """Return the answer: a list with the one error."""
        body = {"errors": [{"code": self.code, "message": self.message, "detail": None}]}
        return JSONResponse(body, self.status, {"Docker-Distribution-Api-Version": "registry/2.0", **self.headers})


def not_found(path: str) -> Refusal:
    """Return the refusal of a path that nothing is served at."""
    return Refusal(404, "NotFound", f"Nothing is served at {path}.")
