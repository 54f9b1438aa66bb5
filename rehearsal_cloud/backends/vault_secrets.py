"""The secrets of the vaults: versions, soft delete, backup. Values are only in answers, never in a log.

Source: https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups
"""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken

from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.store import Store

_NAME = r"[A-Za-z0-9-]{1,127}"
_MOST_BYTES = 25_600
_GIVEN_ATTRIBUTES = ("enabled", "nbf", "exp")


class VaultSecrets:
    """The secrets of a vault: `vault` is its resource document."""

    def __init__(self, store: Store, vault: Document) -> None:
        self._store = store
        self._vault = vault["name"].lower()
        properties = vault["properties"]
        self._url = properties["vaultUri"].rstrip("/")
        self._days = properties["softDeleteRetentionInDays"]
        self._purgeable = not properties.get("enablePurgeProtection")

    # Live secrets

    def set(self, name: str, body: Document) -> Document:
        """Store a new version and return its bundle. Raises ServiceError."""
        if not re.fullmatch(_NAME, name):
            raise ServiceError(400, "BadParameter", f"The request URI contains an invalid name: {name}")
        value = body.get("value")
        if not isinstance(value, str):
            raise ServiceError(400, "BadParameter", "Property value is required and must be a string.")
        if len(value.encode()) > _MOST_BYTES:
            text = f"The length of the secret value exceeds the limit of {_MOST_BYTES} bytes."
            raise ServiceError(400, "BadParameter", text)
        now = int(time.time())
        attributes = body.get("attributes") or {}
        version = {
            "id": uuid.uuid4().hex,
            "value": value,
            "contentType": body.get("contentType"),
            "tags": body.get("tags"),
            "attributes": {"enabled": True, **_attributes(attributes), "created": now, "updated": now},
        }
        secret = self._kept(name) or {"name": name, "versions": []}
        if "deleted" in secret:
            text = (
                f"Secret {secret['name']} is currently in a deleted but recoverable state, and its name cannot be"
                " reused; in this state, the secret can only be recovered or purged."
            )
            raise ServiceError(409, "Conflict", text, inner="ObjectIsDeletedButRecoverable")
        secret["versions"].append(version)
        self._keep(secret)
        return self._bundle(secret, version, with_value=True)

    def get(self, name: str, version_id: str) -> Document:
        """Return a version's bundle with its value; without a version, the newest. Raises ServiceError."""
        secret, version = self._version(name, version_id)
        if not version["attributes"]["enabled"]:
            text = "Operation get is not allowed on a disabled secret."
            raise ServiceError(403, "Forbidden", text, inner="SecretDisabled")
        return self._bundle(secret, version, with_value=True)

    def update(self, name: str, version_id: str, body: Document) -> Document:
        """Update the version's attributes, content type and tags in `body`, and return its bundle."""
        secret, version = self._version(name, version_id)
        version["attributes"] |= {**_attributes(body.get("attributes") or {}), "updated": int(time.time())}
        version |= {key: body[key] for key in ("contentType", "tags") if body.get(key) is not None}
        self._keep(secret)
        return self._bundle(secret, version)

    def live(self) -> list[Document]:
        """Return an item for each secret that is not deleted, by name."""
        live = (secret for secret in self._all() if "deleted" not in secret)
        return [self._item(secret, secret["versions"][-1], versioned=False) for secret in live]

    def newest(self) -> dict[str, str]:
        """Return the ID of each live secret's newest version, by the secret's name."""
        return {secret["name"]: secret["versions"][-1]["id"] for secret in self._all() if "deleted" not in secret}

    def versions(self, name: str) -> list[Document]:
        """Return an item for each version of a secret, ordered by ID, as Azure does."""
        secret = self._existing(name)
        ordered = sorted(secret["versions"], key=lambda version: str(version["id"]))
        return [self._item(secret, version, versioned=True) for version in ordered]

    # Soft delete

    def delete(self, name: str) -> Document:
        """Soft-delete a secret and return its bundle."""
        secret, now = self._existing(name), int(time.time())
        secret["deleted"] = {"deletedDate": now, "scheduledPurgeDate": now + self._days * 86_400}
        self._keep(secret)
        return self._deleted_bundle(secret)

    def get_deleted(self, name: str) -> Document:
        """Return a deleted secret's bundle."""
        return self._deleted_bundle(self._existing_deleted(name))

    def deleted(self) -> list[Document]:
        """Return an item for each deleted secret, by name."""
        return [
            {**self._item(secret, secret["versions"][-1], versioned=False), **self._deletion(secret)}
            for secret in self._all()
            if "deleted" in secret
        ]

    def recover(self, name: str) -> Document:
        """Recover a deleted secret with all its versions and return the newest version's bundle."""
        secret = self._existing_deleted(name)
        del secret["deleted"]
        self._keep(secret)
        return self._bundle(secret, secret["versions"][-1])

    def purge(self, name: str) -> None:
        """Purge a deleted secret."""
        secret = self._existing_deleted(name)
        if not self._purgeable:
            text = (
                'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service'
                " will automatically purge it after the retention period has passed."
            )
            raise ServiceError(403, "Forbidden", text)
        self._store.delete("secrets", self._key(secret["name"]))

    # Backup

    def backup(self, name: str) -> Document:
        """Return the secret with all its versions, encrypted with a key of the service."""
        sealed = self._seal().encrypt(json.dumps(self._existing(name)).encode()).decode()
        return {"value": sealed.rstrip("=")}  # base64url as in RFC 7515: without padding

    def restore(self, body: Document) -> Document:
        """Restore a secret from its backup and return the newest version's bundle."""
        sealed = str(body.get("value", ""))
        try:
            secret: Document = json.loads(self._seal().decrypt(sealed + "=" * (-len(sealed) % 4)))
        except InvalidToken:
            raise ServiceError(400, "BadParameter", "Backup blob is malformed.") from None
        if self._kept(secret["name"]) is not None:
            text = f"There was a conflict restoring the secret '{secret['name']}' as the name is already in use."
            raise ServiceError(409, "Conflict", text)
        self._keep(secret)
        return self._bundle(secret, secret["versions"][-1])

    def _seal(self) -> Fernet:
        kept = self._store.get("keys", "secret-backups")
        if kept is None:
            kept = {"key": Fernet.generate_key().decode()}
            self._store.put("keys", "secret-backups", kept)
        return Fernet(kept["key"])

    # Documents

    def _key(self, name: str) -> str:
        return f"{self._vault}/{name.lower()}"

    def _keep(self, secret: Document) -> None:
        self._store.put("secrets", self._key(secret["name"]), secret)

    def _kept(self, name: str) -> Document | None:
        return self._store.get("secrets", self._key(name))

    def _all(self) -> list[Document]:
        return self._store.scan("secrets", f"{self._vault}/")

    def _existing(self, name: str) -> Document:
        secret = self._kept(name)
        if secret is None or "deleted" in secret:
            raise _not_found(name)
        return secret

    def _existing_deleted(self, name: str) -> Document:
        secret = self._kept(name)
        if secret is None or "deleted" not in secret:
            raise ServiceError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        return secret

    def _version(self, name: str, version_id: str) -> tuple[Document, Document]:
        secret = self._existing(name)
        if not version_id:
            return secret, secret["versions"][-1]
        version = next((candidate for candidate in secret["versions"] if candidate["id"] == version_id.lower()), None)
        if version is None:
            raise _not_found(f"{name}/{version_id}")
        return secret, version

    # Bodies

    def _bundle(self, secret: Document, version: Document, *, with_value: bool = False) -> Document:
        earlier = secret["versions"][: secret["versions"].index(version)]
        return {
            **({"value": version["value"]} if with_value else {}),
            **self._item(secret, version, versioned=True),
            **({"previousVersion": earlier[-1]["id"]} if earlier else {}),
        }

    def _item(self, secret: Document, version: Document, *, versioned: bool) -> Document:
        level = "Recoverable" if self._days == 90 else "CustomizedRecoverable"  # noqa: PLR2004 - 90 days is the default
        attributes = {
            **version["attributes"],
            "recoveryLevel": f"{level}+Purgeable" if self._purgeable else level,
            "recoverableDays": self._days,
        }
        place = f"{self._url}/secrets/{secret['name']}"
        return {
            "id": f"{place}/{version['id']}" if versioned else place,
            "attributes": attributes,
            **{key: version[key] for key in ("contentType", "tags") if version[key] is not None},
        }

    def _deleted_bundle(self, secret: Document) -> Document:
        return {**self._bundle(secret, secret["versions"][-1]), **self._deletion(secret)}

    def _deletion(self, secret: Document) -> Document:
        return {"recoveryId": f"{self._url}/deletedsecrets/{secret['name']}", **secret["deleted"]}


def _attributes(attributes: Document) -> dict[str, Any]:
    return {key: attributes[key] for key in _GIVEN_ATTRIBUTES if attributes.get(key) is not None}


def _not_found(name: str) -> ServiceError:
    text = (
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may"
        " be able to recover it using the correct recovery command. For help resolving this issue, please see"
        " https://go.microsoft.com/fwlink/?linkid=2125182"
    )
    return ServiceError(404, "SecretNotFound", text)
