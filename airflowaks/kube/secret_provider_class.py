"""A SecretProviderClass: the vault's secrets, the files they become, and the Secrets that are synced from the files.

Source: https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/getting-started/usage
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.kube.client import Document


@dataclass(frozen=True)
class SecretProviderClass:
    """One class: `objects` maps files to the vault's secrets, `synced` maps each Secret's keys to files."""

    name: str
    objects: Mapping[str, str]
    synced: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, document: Document) -> SecretProviderClass:
        """Return the class of a manifest's document."""
        import yaml

        spec = document["spec"]
        listed = [yaml.safe_load(text) for text in yaml.safe_load(spec["parameters"]["objects"])["array"]]
        objects = {item.get("objectAlias", item["objectName"]): item["objectName"] for item in listed}
        synced = {
            secret["secretName"]: {item["key"]: item["objectName"] for item in secret["data"]}
            for secret in spec.get("secretObjects", ())
        }
        return cls(document["metadata"]["name"], objects, synced)
