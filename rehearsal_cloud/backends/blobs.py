"""<account>.blob.core.windows.net: the blobs of registry tasks, accessible only with shared access signatures.

Clients upload sources of builds, and read growing logs, in ranges, until the metadata mark them as
complete. https://learn.microsoft.com/rest/api/storageservices/put-blob, …/get-blob and …/create-service-sas
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
import uuid
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from starlette.responses import Response
from starlette.routing import Route

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.routing import routed

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from rehearsal_cloud.home import Home
    from rehearsal_cloud.store import Store

SUFFIX = ".blob.core.windows.net"
_ACCOUNT = "acrtaskprodwesteurope01"
_VERSION = "2025-11-05"
_SECONDS = 3600
_RANGE = re.compile(r"bytes=(?P<first>\d+)-(?P<last>\d*)")
_LOG_TYPE = "text/plain; charset=utf-8"


class BlobError(ServiceError):
    """An error response of the storage service: XML, with the code also in a header."""

    def response(self) -> Response:  # type: ignore[override]  # the one service that speaks no JSON
        """Return the answer."""
        text = f"{self.message}\nRequestId:{uuid.uuid4()}\nTime:{datetime.now(UTC).isoformat()}"
        body = f"<Error><Code>{self.code}</Code><Message>{escape(text)}</Message></Error>"
        headers = {"x-ms-error-code": self.code, "x-ms-version": _VERSION, **self.headers}
        return Response(
            f'<?xml version="1.0" encoding="utf-8"?>{body}', self.status, headers, media_type="application/xml"
        )


class Blobs:
    """The blobs of a rehearsal: files below its home, with metadata in its store."""

    def __init__(self, home: Home, store: Store) -> None:
        self._folder = home.services / "registry-tasks"
        self._store = store
        path = "/{container}/{blob:path}"
        self.answer = routed([Route(path, self._put, methods=["PUT"]), Route(path, self._get)])

    def url(self, blob: str, permissions: str) -> str:
        """Return a URL that opens one blob (`container/path`) for an hour: `cw` to create it, `r` to read it."""
        expiry = datetime.fromtimestamp(time.time() + _SECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"sv": _VERSION, "se": expiry, "sr": "b", "sp": permissions}
        return f"https://{_ACCOUNT}{SUFFIX}/{blob}?{urlencode({**query, 'sig': self._signature(blob, query)})}"

    def file(self, blob: str) -> Path:
        """Return the path of a blob's file, which may not exist."""
        return self._folder / blob

    def begin(self, blob: str) -> None:
        """Create an empty append blob."""
        self.file(blob).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file(blob).write_bytes(b"")
        self._store.put("blobs", blob, {"type": "AppendBlob", "metadata": {}})

    def append(self, blob: str, text: str) -> None:
        """Append to a blob."""
        with self.file(blob).open("ab") as file:
            file.write(text.encode())

    def complete(self, blob: str, how: str) -> None:
        """Mark the blob as complete in its metadata, with the outcome."""
        self._store.put("blobs", blob, {"type": "AppendBlob", "metadata": {"Complete": how}})

    async def _put(self, request: Request) -> Response:
        blob = self._opened(request, "w")
        if request.headers.get("x-ms-blob-type") != "BlockBlob":
            text = "An HTTP header that's mandatory for this request is not specified."
            raise BlobError(400, "MissingRequiredHeader", text)
        content = await request.body()
        self.file(blob).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file(blob).write_bytes(content)
        self._store.put("blobs", blob, {"type": "BlockBlob", "metadata": {}})
        # The service acknowledges the received content with Content-MD5.
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return Response(None, 201, {**self._about(blob), "Content-MD5": md5})

    async def _get(self, request: Request) -> Response:
        blob = self._opened(request, "r")
        kept = self._store.get("blobs", blob)
        if kept is None:
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        content = self.file(blob).read_bytes()
        headers = self._about(blob) | {"x-ms-blob-type": kept["type"], "Accept-Ranges": "bytes"}
        headers |= {f"x-ms-meta-{name}": value for name, value in kept["metadata"].items()}
        byte_range = _RANGE.fullmatch(request.headers.get("x-ms-range") or request.headers.get("range") or "")
        if byte_range is None:
            return Response(content, 200, headers, media_type=_LOG_TYPE)
        first, last = int(byte_range["first"]), min(int(byte_range["last"] or len(content)), len(content) - 1)
        if first > last:
            text = "The range specified is invalid for the current size of the resource."
            raise BlobError(416, "InvalidRange", text, headers={"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Response(content[first : last + 1], 206, headers, media_type=_LOG_TYPE)

    def _opened(self, request: Request, permission: str) -> str:
        """Return the blob of a request. Raises BlobError unless its signature grants the permission on the blob."""
        blob = f"{request.path_params['container']}/{request.path_params['blob']}"
        query = {name: request.query_params.get(name, "") for name in ("sv", "se", "sr", "sp")}
        if not hmac.compare_digest(self._signature(blob, query), request.query_params.get("sig", "")):
            text = (
                "Server failed to authenticate the request. Make sure the value of Authorization header is formed"
                " correctly including the signature."
            )
            raise BlobError(403, "AuthenticationFailed", text)
        if query["se"] < datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"):
            raise BlobError(403, "AuthenticationFailed", "Signature not valid in the specified time frame.")
        if permission not in query["sp"]:
            text = "This request is not authorized to perform this operation using this permission."
            raise BlobError(403, "AuthorizationPermissionMismatch", text)
        return blob

    def _signature(self, blob: str, query: dict[str, str]) -> str:
        kept = self._store.get("keys", "blobs")
        if kept is None:
            kept = {"secret": secrets.token_hex()}
            self._store.put("keys", "blobs", kept)
        signed = "\n".join([blob, *query.values()]).encode()
        return base64.b64encode(hmac.new(bytes.fromhex(kept["secret"]), signed, hashlib.sha256).digest()).decode()

    def _about(self, blob: str) -> dict[str, str]:
        status = self.file(blob).stat()
        return {
            "ETag": f'"0x{status.st_mtime_ns:X}"',
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "x-ms-version": _VERSION,
        }
