"""The Azure provider of the Secrets Store CSI driver: the objects of a SecretProviderClass, read from Key Vault.

After https://github.com/Azure/secrets-store-csi-driver-provider-azure: its checks in their order, and its error
messages, which end with the output of Azure's SDK for Go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal_cloud import hosts
from rehearsal_cloud.entra.directory import KEY_VAULT
from rehearsal_cloud.kubernetes.outbound import Outbound, Reply, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

AUDIENCE = "api://AzureADTokenExchange"
_LOGIN = "https://login.microsoftonline.com"
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_API_VERSION = "7.6"
_COLLECTIONS = {"secret": "secrets", "key": "keys", "cert": "certificates"}
_DEFAULT_MODE = 0o644
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("", "0", "f", "F", "FALSE", "false", "False")
_OK, _UNAUTHORIZED = 200, 401
_RULE = "-" * 80


class ProviderFailed(Exception):
    """The provider cannot read the objects; the message is the provider's."""


@dataclass(frozen=True)
class SecretFile:
    """A file of the volume; the driver records its `uid` and `version`."""

    path: str
    content: bytes
    mode: int
    uid: str
    version: str


@dataclass(frozen=True)
class _VaultObject:
    """An entry of `objects`."""

    name: str
    alias: str
    version: str
    type: str
    encoding: str
    permission: str

    @property
    def file(self) -> str:
        return self.alias or self.name

    def failed(self, why: str) -> ProviderFailed:
        text = f"failed to get objectType:{self.type}, objectName:{self.name}, objectVersion:{self.version}: {why}"
        return ProviderFailed(text)


@dataclass(frozen=True)
class Identity:
    """The identity that the provider signs in as: the token of the pod's service account, or the volume's `secrets`."""

    token: str
    secrets: Mapping[str, str] | None


class SecretsProvider:
    """Reads the objects of a cluster's SecretProviderClasses."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._outbound = Outbound(cluster.cloud)

    async def files(self, parameters: Mapping[str, str], identity: Identity) -> list[SecretFile]:
        """Return the files of a class with these parameters. Raises ProviderFailed."""
        settings = {key: value.strip() for key, value in parameters.items()}
        pods, machines = (_flag(settings, name) for name in ("usePodIdentity", "useVMManagedIdentity"))
        if pods and machines:
            text = "usePodIdentity, useVMManagedIdentity, or useAzureTokenProxy"
            raise ProviderFailed(f"only one identity mode can be enabled at a time: {text}")
        vault, tenant = settings.get("keyvaultName", ""), settings.get("tenantID") or settings.get("tenantId", "")
        if not vault:
            raise ProviderFailed("keyvaultName is not provided")
        if not tenant:
            raise ProviderFailed("tenantId is not provided")
        credential = _Credential(self._cluster, self._outbound, tenant)
        if pods:
            credential.pod_identity()
        elif machines:
            credential.machine(settings.get("userAssignedIdentityID", ""))
        elif settings.get("clientID"):
            credential.workload(settings["clientID"], identity.token)
        else:
            credential.service_principal(identity.secrets)
        requested = _objects(settings.get("objects", ""))
        if requested and not 3 <= len(vault) <= 24:  # noqa: PLR2004 - Key Vault's rule for names
            raise ProviderFailed(f'failed to get vault: Invalid vault name: "{vault}", must be between 3 and 24 chars')
        if requested and not re.fullmatch(r"[-A-Za-z0-9]+", vault):
            text = f'failed to get vault: Invalid vault name: "{vault}", must match [-a-zA-Z0-9]{{3,24}}'
            raise ProviderFailed(text)
        return [await self._file(vault, vault_object, credential) for vault_object in requested]

    async def _file(self, vault: str, vault_object: _VaultObject, credential: _Credential) -> SecretFile:
        if vault_object.type not in _COLLECTIONS:
            raise vault_object.failed("Invalid vaultObjectTypes. Should be secret, key, or cert")
        collection = _COLLECTIONS[vault_object.type]
        url = f"https://{vault}.{hosts.KEY_VAULT}/{collection}/{vault_object.name}/{vault_object.version}"
        versioned = f"{url}?api-version={_API_VERSION}"
        try:
            reply = await self._outbound.get(versioned)
            if reply.status == _UNAUTHORIZED:  # the challenge, which says where a token is to come from
                reply = await self._outbound.get(versioned, {"Authorization": f"Bearer {await credential.token()}"})
        except Unreachable as fault:
            raise vault_object.failed(f'Get "{versioned}": {fault}') from None
        except ProviderFailed as fault:
            raise vault_object.failed(str(fault)) from None
        if reply.status != _OK:
            raise vault_object.failed(_response_error("GET", url, reply))
        bundle = json.loads(reply.body)
        mode = int(vault_object.permission, 8) if vault_object.permission else _DEFAULT_MODE
        version = bundle["id"].rpartition("/")[2]
        content = _decoded(bundle["value"], vault_object.encoding)
        return SecretFile(vault_object.file, content, mode, f"{vault_object.type}/{vault_object.name}", version)


class _Credential:
    """The credential that the class chooses. Its setters raise ProviderFailed, as `token` does."""

    def __init__(self, cluster: ClusterState, outbound: Outbound, tenant: str) -> None:
        self._cluster = cluster
        self._outbound = outbound
        self._url = f"{_LOGIN}/{tenant}/oauth2/v2.0/token"
        self._kind = ""
        self._form: dict[str, str] = {}
        self._machine: str | None = None
        self._token = ""

    def workload(self, client_id: str, assertion: str) -> None:
        """Exchange the service account's token."""
        self._kind = "ClientAssertionCredential"
        self._form = {"client_id": client_id, "client_assertion_type": _JWT_BEARER, "client_assertion": assertion}

    def service_principal(self, secrets: Mapping[str, str] | None) -> None:
        """Use the client secret in the Secret that the volume names."""
        if secrets is None:
            raise _no_auth("failed to get credentials, nodePublishSecretRef secret is not set")
        held = {key.lower(): value for key, value in secrets.items()}
        for key in ("clientid", "clientsecret"):
            if not held.get(key):
                raise _no_auth(f"could not find {key} in secrets")
        self._kind = "ClientSecretCredential"
        self._form = {"client_id": held["clientid"], "client_secret": held["clientsecret"]}

    def pod_identity(self) -> None:
        """Use the Node Managed Identity of the retired aad-pod-identity, which AKS no longer runs."""
        self._kind = "podIdentityCredential"

    def machine(self, client_id: str) -> None:
        """Use an identity of the node's virtual machines."""
        self._machine = client_id

    async def token(self) -> str:
        """Return a token for Key Vault."""
        if not self._token:
            self._token = self._machine_token() if self._machine is not None else await self._exchanged()
        return self._token

    async def _exchanged(self) -> str:
        if not self._form:
            url = f"http://localhost:2579/host/token/?resource={KEY_VAULT[0]}"
            raise ProviderFailed(f'Get "{url}": dial tcp 127.0.0.1:2579: connect: connection refused')
        form = {**self._form, "grant_type": "client_credentials", "scope": f"{KEY_VAULT[0]}/.default"}
        try:
            reply = await self._outbound.post(self._url, form)
        except Unreachable as fault:
            raise ProviderFailed(f'{self._kind} authentication failed: Post "{self._url}": {fault}') from None
        if reply.status != _OK:
            raise ProviderFailed(_authentication_failed(self._kind, self._url, reply))
        return str(json.loads(reply.body)["access_token"])

    def _machine_token(self) -> str:
        """Return the instance metadata service's token: it serves only the identities of the nodes."""
        properties = self._cluster.document["properties"]
        addons = [profile.get("identity") for profile in (properties.get("addonProfiles") or {}).values()]
        identities = [
            identity for identity in (*(properties.get("identityProfile") or {}).values(), *addons) if identity
        ]
        chosen = [identity for identity in identities if identity["clientId"] == self._machine]
        principal = self._cluster.cloud.entra.principal(chosen[0]["objectId"]) if chosen else None
        if principal is None:
            url = "http://169.254.169.254/metadata/identity/oauth2/token"
            body = {"error": "invalid_request", "error_description": "Identity not found"}
            reply = Reply(400, {}, json.dumps(body).encode())
            raise ProviderFailed(_authentication_failed("ManagedIdentityCredential", url, reply, "GET"))
        return self._cluster.cloud.entra.mint(principal, KEY_VAULT[0])


def _no_auth(why: str) -> ProviderFailed:
    return ProviderFailed(f"failed to build auth config for mode None: {why}")


def _flag(settings: Mapping[str, str], name: str) -> bool:
    value = settings.get(name, "")
    if value not in (*_TRUE, *_FALSE):
        text = f'failed to parse {name} flag, error: strconv.ParseBool: parsing "{value}": invalid syntax'
        raise ProviderFailed(text)
    return value in _TRUE


def _objects(text: str) -> list[_VaultObject]:
    """Return the entries of `objects`: YAML in YAML in YAML."""
    if not text:
        raise ProviderFailed("objects is not set")
    try:
        entries: Any = (yaml.safe_load(text) or {})["array"] or []
        objects = [yaml.safe_load(entry) for entry in entries]
        return [_vault_object(entry) for entry in objects]
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as fault:
        raise ProviderFailed(f"failed to yaml unmarshal objects, error: {fault}") from None


def _vault_object(entry: Document) -> _VaultObject:
    fields = ("objectName", "objectAlias", "objectVersion", "objectType", "objectEncoding", "filePermission")
    vault_object = _VaultObject(*(str(entry.get(field) or "").strip() for field in fields))
    if vault_object.encoding and vault_object.encoding.lower() not in ("hex", "base64", "utf-8"):
        raise vault_object.failed(f"invalid objectEncoding: {vault_object.encoding}, should be hex, base64 or utf-8")
    if not vault_object.file:
        raise vault_object.failed("file name must not be empty")
    if vault_object.file.startswith("/"):
        raise vault_object.failed("file name must be a relative path")
    if ".." in vault_object.file:
        raise vault_object.failed("file name must not contain '..'")
    if vault_object.permission and not re.fullmatch(r"[0-7]+", vault_object.permission):
        raise vault_object.failed(f"file permission must be a valid octal number: {vault_object.permission}")
    return vault_object


def _decoded(value: str, encoding: str) -> bytes:
    try:
        match encoding.lower():
            case "base64":
                return base64.b64decode(value, validate=True)
            case "hex":
                return bytes.fromhex(value)
    except (binascii.Error, ValueError):  # the message must not contain the value
        raise ProviderFailed(f"illegal {encoding} data") from None
    return value.encode()


# The errors of Azure's SDK for Go


def _printed(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2)
    except ValueError:
        return body.decode(errors="replace") or "Response contained no body"


def _response_error(method: str, url: str, reply: Reply) -> str:
    """Return azcore's ResponseError."""
    try:
        code = json.loads(reply.body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        code = ""
    coded = f"ERROR CODE: {code}" if code else "ERROR CODE UNAVAILABLE"
    answered = f"RESPONSE {reply.status}: {reply.status_line}"
    return "\n".join([f"{method} {url}", _RULE, answered, coded, _RULE, _printed(reply.body), _RULE, ""])


def _authentication_failed(kind: str, url: str, reply: Reply, method: str = "POST") -> str:
    """Return azidentity's AuthenticationFailedError."""
    request_lines = [f"{kind} authentication failed. ", f"{method} {url}", _RULE]
    return "\n".join([*request_lines, f"RESPONSE {reply.status_line}", _RULE, _printed(reply.body), _RULE, ""])
