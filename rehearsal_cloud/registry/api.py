"""<registry>.azurecr.io: sign-in, images with the OCI distribution API, and ACR's listings of them.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md and
https://learn.microsoft.com/rest/api/containerregistry
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal_cloud.backends.image_store import MANIFEST_TYPE, Images
from rehearsal_cloud.entra.directory import signing_key
from rehearsal_cloud.errors import RegistryError, not_found
from rehearsal_cloud.registry.tokens import AUTHENTICATION_REQUIRED, RegistryTokens
from rehearsal_cloud.resource_manager.providers.container_registry import HOST_SUFFIX, registry_named
from rehearsal_cloud.resource_manager.resource_types import find
from rehearsal_cloud.routing import routed

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_API_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_CHANGEABLE = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}
# The user name with which `docker login` presents a refresh token as its password.
_TOKEN_USER = "00000000-0000-0000-0000-000000000000"  # noqa: S105 - a name, no password
_MOST_LISTED = 100
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md; believed: ACR refuses other names so
_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
# Loopback represents clients inside and outside of Azure's network.
_FIREWALL = "client with IP '127.0.0.1' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."


class Registry:
    """The data plane of every container registry; imports and builds add images, pushing is not supported."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._key = signing_key(cloud.store, "acr")
        self._routed = routed(
            [
                Route("/v2/", self._ping),
                Route("/oauth2/exchange", self._exchange, methods=["POST"]),
                Route("/oauth2/token", self._token, methods=["GET", "POST"]),
                Route("/v2/{name:path}/manifests/{reference}", self._manifest),
                Route("/v2/{name:path}/manifests/{reference}", self._delete_manifest, methods=["DELETE"]),
                Route("/v2/{name:path}/blobs/{digest}", self._blob),
                Route("/v2/{name:path}/tags/list", self._tag_names),
                Route("/v2/_catalog", self._catalog),
                Route("/acr/v1/_catalog", self._catalog),
                Route("/acr/v1/{name:path}/_tags", self._tags),
                Route("/acr/v1/{name:path}/_tags/{tag}", self._tag),
                Route("/acr/v1/{name:path}/_tags/{tag}", self._delete_tag, methods=["DELETE"]),
                Route("/acr/v1/{name:path}/_manifests", self._manifests),
                Route("/acr/v1/{name:path}/_manifests/{digest}", self._manifest_properties),
                Route("/acr/v1/{name:path}", self._repository),
                Route("/acr/v1/{name:path}", self._delete_repository, methods=["DELETE"]),
            ]
        )

    async def answer(self, request: Request) -> Response:
        """Answer a request to the registry of its host name."""
        host = _host(request)
        registry = registry_named(self._cloud, host.removesuffix(HOST_SUFFIX))
        if registry is None:
            return not_found(host).response()
        if find(registry, "properties.publicNetworkAccess") == "Disabled":
            return RegistryError(403, "DENIED", _FIREWALL).response()
        request.state.registry = registry
        return await self._routed(request)

    # Sign-in

    async def _ping(self, request: Request) -> Response:
        self._enter(request)
        return JSONResponse({}, headers=_API_VERSION)

    async def _exchange(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        request.state.principal, token = self._tokens(request).exchange(form)
        return JSONResponse({"refresh_token": token})

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode())) if request.method == "POST" else _basic(request)
        request.state.principal, token = self._tokens(request).access(form)
        return JSONResponse({"access_token": token})

    def _tokens(self, request: Request) -> RegistryTokens:
        return RegistryTokens(self._cloud, request.state.registry, self._key)

    def _enter(self, request: Request, action: str = "") -> Images:
        """Return the registry's images. Raises RegistryError (401) with a challenge for an insufficient token."""
        name = request.path_params.get("name")
        if name is not None and not _NAME.fullmatch(name):
            raise RegistryError(400, "NAME_INVALID", "invalid repository name")
        scope = f"repository:{name}:{action}" if name else "registry:catalog:*"
        tokens = self._tokens(request)
        holder = tokens.holder(request.headers.get("authorization", ""), scope if action else "")
        if holder is None:
            challenge = {"WWW-Authenticate": tokens.challenge(scope if action else "")}
            raise RegistryError(401, "UNAUTHORIZED", AUTHENTICATION_REQUIRED, headers=challenge)
        request.state.principal = holder
        images = Images(self._cloud.store, request.state.registry["id"])
        if name and not images.manifests(name):
            raise RegistryError(404, "NAME_UNKNOWN", "repository name not known to registry")
        return images

    # The OCI distribution API

    async def _manifest(self, request: Request) -> Response:
        manifest = _existing(self._enter(request, "pull"), request, "reference")
        headers = {**_API_VERSION, "Docker-Content-Digest": manifest["digest"], "ETag": f'"{manifest["digest"]}"'}
        return Response(manifest["content"], media_type=MANIFEST_TYPE, headers=headers)

    async def _delete_manifest(self, request: Request) -> Response:
        images, reference = self._enter(request, "delete"), request.path_params["reference"]
        if not reference.startswith("sha256:"):
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        _existing(images, request, "reference")
        images.delete_manifest(request.path_params["name"], reference)
        return Response(None, 202, _API_VERSION)

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        content = self._enter(request, "pull").blob(request.path_params["name"], digest)
        if content is None:
            raise RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {**_API_VERSION, "Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}
        byte_range = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if byte_range is None:
            return Response(content, media_type="application/octet-stream", headers=headers)
        first, last = int(byte_range[1]), min(int(byte_range[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Response(content[first : last + 1], 206, headers, "application/octet-stream")

    async def _tag_names(self, request: Request) -> Response:
        name = request.path_params["name"]
        tags, links = _page(request, [tag["name"] for tag in self._enter(request, "pull").tags(name)])
        return JSONResponse({"name": name, "tags": tags}, headers=_API_VERSION | links)

    async def _catalog(self, request: Request) -> Response:
        names, links = _page(request, self._enter(request, "*").repositories())
        return JSONResponse({"repositories": names}, headers=_API_VERSION | links)

    # ACR's own listings

    async def _repository(self, request: Request) -> Response:
        images, name = self._enter(request, "metadata_read"), request.path_params["name"]
        manifests, tags = images.manifests(name), images.tags(name)
        properties = {
            "createdTime": min(manifest["created"] for manifest in manifests),
            "lastUpdateTime": max(
                [*(manifest["created"] for manifest in manifests), *(tag["updated"] for tag in tags)]
            ),
            "manifestCount": len(manifests),
            "tagCount": len(tags),
            "changeableAttributes": _CHANGEABLE,
        }
        return JSONResponse({**_about(request), **properties})

    async def _delete_repository(self, request: Request) -> Response:
        images, name = self._enter(request, "delete"), request.path_params["name"]
        manifests, tags = images.manifests(name), images.tags(name)
        for manifest in manifests:
            images.delete_manifest(name, manifest["digest"])
        deleted = {
            "manifestsDeleted": [manifest["digest"] for manifest in manifests],
            "tagsDeleted": [tag["name"] for tag in tags],
        }
        return JSONResponse(deleted, 202)

    async def _tags(self, request: Request) -> Response:
        tags = self._enter(request, "metadata_read").tags(request.path_params["name"])
        by_name = {tag["name"]: tag for tag in _ordered(request, tags, "updated")}
        names, links = _page(request, list(by_name))
        return JSONResponse({**_about(request), "tags": [_tag(by_name[name]) for name in names]}, headers=links)

    async def _tag(self, request: Request) -> Response:
        images = self._enter(request, "metadata_read")
        return JSONResponse({**_about(request), "tag": _tag(_existing_tag(images, request))})

    async def _delete_tag(self, request: Request) -> Response:
        images = self._enter(request, "delete")
        images.delete_tag(request.path_params["name"], _existing_tag(images, request)["name"])
        return Response(None, 202)

    async def _manifests(self, request: Request) -> Response:
        images = self._enter(request, "metadata_read")
        manifests = images.manifests(request.path_params["name"])
        by_digest = {manifest["digest"]: manifest for manifest in _ordered(request, manifests, "created")}
        digests, links = _page(request, list(by_digest))
        shown = [_manifest_properties(images, by_digest[digest]) for digest in digests]
        return JSONResponse({**_about(request), "manifests": shown}, headers=links)

    async def _manifest_properties(self, request: Request) -> Response:
        images = self._enter(request, "metadata_read")
        manifest = _existing(images, request, "digest")
        return JSONResponse({**_about(request), "manifest": _manifest_properties(images, manifest)})


def _host(request: Request) -> str:
    return request.headers["host"].partition(":")[0].lower()


def _about(request: Request) -> Document:
    return {"registry": _host(request), "imageName": request.path_params["name"]}


def _basic(request: Request) -> dict[str, str]:
    """Return the query with the user name and password of `docker login`; the password may be a refresh token."""
    form = {key: value for key, value in request.query_params.items() if key in ("scope", "service")}
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        name, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return form
    if scheme.lower() != "basic":
        return form
    return form | ({"refresh_token": password} if name == _TOKEN_USER else {"username": name, "password": password})


def _existing(images: Images, request: Request, parameter: str) -> Document:
    reference = request.path_params[parameter]
    manifest = images.manifest(request.path_params["name"], reference)
    if manifest is None:
        named = reference if reference.startswith("sha256:") else f'manifest tagged by "{reference}"'
        raise RegistryError(404, "MANIFEST_UNKNOWN", f"{named} is not found")
    return manifest


def _existing_tag(images: Images, request: Request) -> Document:
    tag = images.tag(request.path_params["name"], request.path_params["tag"])
    if tag is None:
        raise RegistryError(404, "TAG_UNKNOWN", "the specified tag does not exist")
    return tag


def _ordered(request: Request, items: list[Document], key: str) -> list[Document]:
    order = request.query_params.get("orderby", "none")
    return sorted(items, key=lambda item: item[key], reverse=order == "timedesc") if order != "none" else items


def _page(request: Request, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the page of `last` and `n`, and the header with the link to the next page."""
    last = request.query_params.get("last")
    left = names[names.index(last) + 1 :] if last in names else names
    size = int(request.query_params.get("n", _MOST_LISTED))
    page = left[:size]
    if len(left) <= size:
        return page, {}
    query = urlencode({**request.query_params, "last": page[-1], "n": size})
    return page, {"Link": f'<{request.url.path}?{query}>; rel="next"'}


def _tag(tag: Document) -> Document:
    return {
        "name": tag["name"],
        "digest": tag["digest"],
        "createdTime": tag["created"],
        "lastUpdateTime": tag["updated"],
        "signed": False,
        "changeableAttributes": _CHANGEABLE,
    }


def _manifest_properties(images: Images, kept: Document) -> Document:
    manifest = json.loads(kept["content"])
    config = json.loads(bytes.fromhex(kept["blobs"][manifest["config"]["digest"]]))
    tags = [tag for tag in images.tags(kept["repository"]) if tag["digest"] == kept["digest"]]
    return {
        "digest": kept["digest"],
        "imageSize": manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"]),
        "createdTime": kept["created"],
        "lastUpdateTime": max([kept["created"], *(tag["updated"] for tag in tags)]),
        "architecture": config["architecture"],
        "os": config["os"],
        "mediaType": manifest["mediaType"],
        "configMediaType": manifest["config"]["mediaType"],
        "tags": [tag["name"] for tag in tags],
        "changeableAttributes": _CHANGEABLE,
    }
