"""The vault's secrets as Airflow's pods get them: by SecretProviderClass, in Secrets that the driver synchronizes.

Source: https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/getting-started/usage
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import yaml

from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import wait_until
from airflowaks.errors import NotConverged
from airflowaks.kube.client import Reference, connect
from airflowaks.steps import key_vault, workload_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflowaks.azure.vault_secret import VaultSecret
    from airflowaks.kube.client import Document
    from airflowaks.session import Session

_CHECKSUM_LENGTH = 16
# The driver reads the vault every two minutes.
_SYNC_SECONDS = 600.0


@dataclass(frozen=True)
class SecretProviderClass:
    """One class: `objects` maps files to the vault's secrets, `synced` maps each Secret's keys to files."""

    name: str
    objects: Mapping[str, str]
    synced: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, document: Document) -> SecretProviderClass:
        """Return the class of a manifest's document."""
        spec = document["spec"]
        listed = [_parsed(text) for text in _parsed(spec["parameters"]["objects"])["array"]]
        objects = {item.get("objectAlias", item["objectName"]): item["objectName"] for item in listed}
        synced = {
            secret["secretName"]: {item["key"]: item["objectName"] for item in secret["data"]}
            for secret in spec.get("secretObjects", ())
        }
        return cls(document["metadata"]["name"], objects, synced)


def _parsed(text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader)  # ten times as fast as safe_load


class PodSecrets:
    """Which secrets each component gets, their versions in the vault, and the Secrets in the cluster."""

    def __init__(self, session: Session) -> None:
        step4, step5 = session.memoize(key_vault.Resources), session.memoize(workload_identity.Resources)
        self.session, self.vault = session, step4.vault
        self.secrets = {secret.name: secret for secret in step4.secrets}
        provider_classes = [obj for obj in step5.objects if obj.kind == "SecretProviderClass"]
        self.classes = [SecretProviderClass.of(obj.manifest.fill()) for obj in provider_classes]

    def checksums(self) -> dict[str, Callable[[], Any]]:
        """Return the placeholders `<COMPONENT>_SECRETS`; each changes with the versions of that component's secrets."""
        return {
            f"{provided.name.removeprefix('airflow-').replace('-', '_').upper()}_SECRETS": partial(
                self._checksum, provided
            )
            for provided in self.classes
        }

    def await_synced(self) -> None:
        """Return once the Secrets in the cluster hold the vault's values, so that new pods start with those.

        Raises NotConverged after ten minutes.
        """
        for provided in self.classes:
            for name, keys in provided.synced.items():
                secrets = {key: self.secrets[provided.objects[file]] for key, file in keys.items()}
                if not wait_until(partial(self._is_synced, name, secrets), bool, _SYNC_SECONDS):
                    message = f"Secret {name}: after ten minutes it still differs from the vault."
                    see = "kubectl logs --namespace kube-system -l app=secrets-store-provider-azure"
                    raise NotConverged(message, f"See `{see}` for the reason, then run the step again.")

    def in_cluster(self, name: str) -> dict[str, str] | None:
        """Return the values of a Secret in the cluster by key, or None. Raises KubernetesError."""
        namespace = self.session.environment.cluster.namespace
        secret = self.session.memoize(connect).get(Reference("v1", "Secret", name, namespace))
        return secret and {key: b64decode(value).decode() for key, value in secret.get("data", {}).items()}

    def _is_synced(self, name: str, secrets: Mapping[str, VaultSecret]) -> bool:
        held = self.in_cluster(name)
        return held is None or held == {key: source.require("value").reveal() for key, source in secrets.items()}

    def _checksum(self, provided: SecretProviderClass) -> Any:
        versions = {name: self._version(name) for name in provided.objects.values()}
        return AFTER_APPLY if AFTER_APPLY in versions.values() else checksum(versions)

    def _version(self, name: str) -> Any:
        if name in self.secrets:
            return self.secrets[name].fact("version")
        # The certificate of the web pages, which the runbook does not write.
        if self.vault.facts is None:
            return AFTER_APPLY
        if self.session.mode == "check":  # by a caller who need not be able to read its value
            latest = self.vault.latest_version(name)
            return AFTER_APPLY if latest is None else latest.version
        return self.vault.secrets.get_secret(name).properties.version


def checksum(value: Any) -> str:
    """Return a short digest of JSON, for the pods' annotations: a change of the value rolls the pods."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_CHECKSUM_LENGTH]
