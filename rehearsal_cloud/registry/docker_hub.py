"""Docker Hub as anonymous clients see it: a token, and the head of a manifest with the limit of pulls.

https://docs.docker.com/docker-hub/usage/pulls/#view-hourly-pull-rate-and-limit. A HEAD does not count as a pull.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.backends.image_store import MANIFEST_TYPE, public_image
from rehearsal_cloud.errors import RegistryError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.resource_manager.cloud import Cloud

HOST = "registry-1.docker.io"
TOKEN_HOST = "auth.docker.io"  # noqa: S105 - a host
_ANONYMOUS = "anonymous"
_PULLS, _WINDOW_SECONDS = 100, 21_600
_LIMIT = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"


class DockerHub:
    """The registry and its token service, for the images that imports find there."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Return the routes of both hosts."""
        return [
            Route("/token", self._token),
            Route("/v2/{name:path}/manifests/{reference}", self._manifest, methods=["HEAD"]),
        ]

    async def _token(self, _request: Request) -> Response:
        return JSONResponse({"token": _ANONYMOUS, "access_token": _ANONYMOUS, "expires_in": 300})

    async def _manifest(self, request: Request) -> Response:
        name, reference = request.path_params["name"], request.path_params["reference"]
        private = self._cloud.settings.docker_hub == "private"
        if private or request.headers.get("authorization") != f"Bearer {_ANONYMOUS}":
            scope = (
                f'Bearer realm="https://{TOKEN_HOST}/token",service="registry.docker.io",scope="repository:{name}:pull"'
            )
            raise RegistryError(401, "UNAUTHORIZED", "authentication required", headers={"WWW-Authenticate": scope})
        exhausted = self._cloud.settings.docker_hub in ("throttled", "exhausted")
        remaining = 0 if exhausted else _PULLS
        limits = {
            "ratelimit-limit": f"{_PULLS};w={_WINDOW_SECONDS}",
            "ratelimit-remaining": f"{remaining};w={_WINDOW_SECONDS}",
        }
        if exhausted:
            raise RegistryError(429, "TOOMANYREQUESTS", _LIMIT, headers=limits)
        image = public_image(HOST, name, reference)
        if image is None:
            raise RegistryError(404, "MANIFEST_UNKNOWN", "manifest unknown", headers=limits)
        headers = {"Docker-Content-Digest": image.digest, "Content-Type": MANIFEST_TYPE}
        return Response(None, 200, {**headers, **limits})
