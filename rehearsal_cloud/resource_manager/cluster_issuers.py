"""The OIDC issuers of the managed clusters, which federated credentials trust.

Each cluster has its own issuer, `https://<region>.oic.prod-aks.azure.com/<tenant>/<id>/`, whose keys sign the
tokens of its service accounts (https://learn.microsoft.com/azure/aks/use-oidc-issuer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.directory import jwks, signing_key
from rehearsal_cloud.errors import not_found

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

HOST_SUFFIX = ".oic.prod-aks.azure.com"


class Oidc:
    """Serves the discovery document and the keys of every cluster's issuer."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def keys(self, issuer: str) -> Document | None:
        """Return the public keys of a cluster's issuer, or None for an unknown issuer."""
        if not any(_issuer(resource) == issuer for resource in self._cloud.resources("")):
            return None
        return jwks(signing_key(self._cloud.store, f"oidc {issuer}"))

    def fetched(self, issuer: str) -> Document | None:
        """Return the keys as Entra fetches them over the internet: None for an unreachable issuer."""
        url = urlsplit(issuer)
        struck = self._cloud.faults.struck("GET", url.hostname or "", f"{url.path}.well-known/openid-configuration")
        return self.keys(issuer) if struck is None else None

    async def answer(self, request: Request) -> Response:
        """Answer `.well-known/openid-configuration` and `openid/v1/jwks` below an issuer."""
        host = request.headers["host"].partition(":")[0].lower()
        for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
            issuer = f"https://{host}{request.url.path.removesuffix(path)}/"
            keys = self.keys(issuer) if request.url.path.endswith(path) else None
            if keys is None:
                continue
            if path.endswith("jwks"):
                return JSONResponse(keys)
            return JSONResponse(
                {
                    "issuer": issuer,
                    "jwks_uri": f"{issuer}openid/v1/jwks",
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        return not_found(request.url.path).response()


def _issuer(document: Document) -> str | None:
    profile = document.get("properties", {}).get("oidcIssuerProfile") or {}
    issuer: str | None = profile.get("issuerURL")
    return issuer
