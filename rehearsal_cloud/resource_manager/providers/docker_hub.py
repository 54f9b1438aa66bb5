"""Docker Hub as the source of an import: its limit for anonymous pulls, and its account."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.image_store import DOCKER_HUB
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import DOCKER_HUB_USER

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.home import Settings

_PULL_WINDOW_SECONDS = 6 * 3600
_PULL_LIMIT = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"


def refusal(settings: Settings, registry: str, repository: str, credentials: Document | None, target: str) -> str:
    """Return the error of an import that Docker Hub refuses, or "". Raises ServiceError if the request itself fails.

    Public reports differ in how a pull limit arrives: as the answer's own status 429
    (https://github.com/Azure/bicep-registry-modules/issues/3069), or in the text of an import that failed
    (https://github.com/Azure/azure-sdk-for-js/issues/34390); so both can be rehearsed. A Retry-After of Docker Hub's
    window of six hours is believed. Refused credentials: https://github.com/Azure/acr/issues/181.
    """
    if registry.lower() not in DOCKER_HUB:
        return ""
    if credentials is not None:
        if credentials == {"username": DOCKER_HUB_USER, "password": settings.docker_hub_token}:
            return ""
        return _unauthorized(repository, target)
    limit = f'{{"errors":[{{"code":"TOOMANYREQUESTS","message":"{_PULL_LIMIT}"}}]}}'
    match settings.docker_hub:
        case "throttled":
            wait = math.ceil(settings.scaled(_PULL_WINDOW_SECONDS))
            raise ServiceError(429, "TooManyRequests", _PULL_LIMIT, headers={"Retry-After": str(wait)})
        case "exhausted":
            return (
                f"An error occurred when getting manifest. StatusCode: 429, Reason: Too Many Requests, Details: {limit}"
            )
        case "private":
            return _unauthorized(repository, target)
    return ""


def _unauthorized(repository: str, target: str) -> str:
    detail = f'[{{"Type":"repository","Class":"","Name":"{repository}","Action":"pull"}}]'
    return (
        f"Operation failed. Resource {target} Invalid message Unauthorized Unauthorized"
        f' {{"errors":[{{"code":"UNAUTHORIZED","message":"authentication required","detail":{detail}}}]}}'
    )
