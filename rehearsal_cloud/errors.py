"""The error responses of Azure's services; Resource Manager and each data plane have their own format."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse


class ServiceError(Exception):
    """An error response: HTTP status, Azure's error code and message; `inner` is the code under `innererror`."""

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
        """Return the answer in the format of Resource Manager, Graph and Key Vault."""
        return JSONResponse({"error": self.error()}, self.status, self.headers)


class RegistryError(ServiceError):
    """An error response of a container registry, in the format of the OCI distribution API."""

    def response(self) -> JSONResponse:
        """Return the answer: a list with this error."""
        body = {"errors": [{"code": self.code, "message": self.message}]}
        return JSONResponse(body, self.status, {"Docker-Distribution-Api-Version": "registry/2.0", **self.headers})


def not_found(path: str) -> ServiceError:
    """Return the error for an unknown path."""
    return ServiceError(404, "NotFound", f"Nothing is served at {path}.")
