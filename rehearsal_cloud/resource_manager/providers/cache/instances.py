"""The instances behind caches: a real Valkey with a TLS front each."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import defaultdict
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.tls import TlsTerminator
from rehearsal_cloud.resource_manager.providers import instances

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from rehearsal_cloud.backends.valkey import ValkeyServer
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_MEGABYTE = 1024 * 1024
_REAL_MEGABYTES_PER_GIGABYTE = 64


def real_memory(gigabytes: float) -> int:
    """Return the bytes of a cache of Azure's size: 64 MB per gigabyte, between 64 and 256 MB."""
    return int(min(max(gigabytes * _REAL_MEGABYTES_PER_GIGABYTE, 64), 256)) * _MEGABYTE


def new_key() -> str:
    """Return a new access key in Azure's format."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_keys() -> dict[str, str]:
    """Return both new access keys by type."""
    return {"Primary": new_key(), "Secondary": new_key()}


def listed_keys(document: Document) -> dict[str, str]:
    """Return the access keys as the services list them."""
    keys = document["_secret"]["keys"]
    return {"primaryKey": keys["Primary"], "secondaryKey": keys["Secondary"]}


class FirewalledTerminator(TlsTerminator):
    """TLS in front of a Valkey, for addresses that `allows` accepts; others are disconnected before the handshake."""

    def __init__(
        self, port: int, ssl_context: ssl.SSLContext, upstream: Callable[[], Path], allows: Callable[[str], bool]
    ) -> None:
        super().__init__(port, ssl_context, upstream)
        self._allows = allows

    async def _converse(self, client: socket.socket, address: str) -> None:
        if self._allows(address):
            await super()._converse(client, address)


class Instance:
    """The Valkey behind a cache, and its TLS front."""

    def __init__(self, cloud: Cloud, document: Document, folder: str, allows: Callable[[str], bool]) -> None:
        from rehearsal_cloud.backends.valkey import ValkeyServer  # a Redis client with it: half a second

        self.server = ValkeyServer(cloud.home.services / folder)
        self.terminator = FirewalledTerminator(
            document["_secret"]["port"], cloud.tls, lambda: self.server.socket, allows
        )


class Instances(instances.Instances[Instance]):
    """The instances of a type of cache.

    `folder` names an instance's folder below the home's services; `allows` tells whether an address may connect, and
    `enabled` whether the cache accepts access keys. The listed keys and those of Valkey change together: requests that
    list or regenerate the keys of a cache wait for each other. That Azure makes them wait is believed: what it answers
    to two regenerations at once is undocumented.
    """

    def __init__(
        self,
        folder: Callable[[Document], str],
        allows: Callable[[Cloud, Document, str], bool],
        enabled: Callable[[Document], bool],
    ) -> None:
        super().__init__()
        self._folder = folder
        self._allows = allows
        self._enabled = enabled
        self._key_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Start the instance again, with the keys that are listed: a kill may have come between both."""
        await super().start(cloud, document)
        await self.set_keys(cloud, document)

    async def make(self, cloud: Cloud, document: Document, *, clustered: bool = False) -> ValkeyServer:
        """Start the instance and return its Valkey. It is idempotent."""
        instance = self._instance(cloud, document)
        await instance.server.create(clustered=clustered)
        await self._open(cloud, document, instance)
        return instance.server

    def of(self, document: Document) -> ValkeyServer | None:
        """Return the running Valkey of a cache, or None."""
        instance = self._running.get(document["id"].lower())
        return instance.server if instance else None

    async def list_keys(self, cloud: Cloud, document: Document) -> dict[str, str]:
        """Return the access keys, all of which Valkey accepts."""
        async with self._key_locks[document["id"].lower()]:
            return listed_keys(_stored(cloud, document))

    async def regenerate_key(self, cloud: Cloud, document: Document, kind: str) -> dict[str, str]:
        """Replace the key of a kind, Primary or Secondary, and return both."""
        async with self._key_locks[document["id"].lower()]:
            changed = _stored(cloud, document)
            changed["_secret"]["keys"][kind] = new_key()
            cloud.keep(changed)
            await self._give_keys(changed)
            return listed_keys(changed)

    async def set_keys(self, cloud: Cloud, document: Document) -> None:
        """Have Valkey accept the stored keys, if the cache accepts keys at all."""
        async with self._key_locks[document["id"].lower()]:
            await self._give_keys(_stored(cloud, document))

    async def _give_keys(self, document: Document) -> None:
        server = self.of(document)
        if server is not None:
            await server.set_keys(list(document["_secret"]["keys"].values()), enabled=self._enabled(document))

    def _describe(self, cloud: Cloud, document: Document) -> Instance:
        def allows(address: str) -> bool:
            return self._allows(cloud, _stored(cloud, document), address)

        return Instance(cloud, document, self._folder(document), allows)


def _stored(cloud: Cloud, document: Document) -> Document:
    """Return the cache's document as it is now: another request may have changed it since `document` was read."""
    return cloud.store.get("resources", document["id"].lower()) or document
