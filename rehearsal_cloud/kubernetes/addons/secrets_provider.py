"""The Azure provider of the Secrets Store CSI driver: what a SecretProviderClass asks for, read from Key Vault.

After https://github.com/Azure/secrets-store-csi-driver-provider-azure: its checks, the order of them, and its error
texts, which end with what Azure's SDK for Go prints of an answer.
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
    """The provider cannot give what is asked for; the message is the provider's own."""


@dataclass(frozen=True)
class SecretFile:
    """One file of the volume: `uid` and `version` are what the driver keeps of it."""

    path: str
    content: bytes
    mode: int
    uid: str
    version: str


@dataclass(frozen=True)
class _Wanted:
    """One entry of `objects`."""

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
    """Whom the provider signs in as: `token` proves the pod's service account, `secrets` are the volume's own."""

    token: str
    secrets: Mapping[str, str] | None


class SecretsProvider:
    """Reads the objects of one cluster's SecretProviderClasses."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._outbound = Outbound(cluster.cloud)

    async def files(self, parameters: Mapping[str, str], identity: Identity) -> list[SecretFile]:
        """Return the files that a class with these parameters asks for. Raises ProviderFailed."""
        given = {key: value.strip() for key, value in parameters.items()}
        pods, machines = (_flag(given, name) for name in ("usePodIdentity", "useVMManagedIdentity"))
        if pods and machines:
            text = "usePodIdentity, useVMManagedIdentity, or useAzureTokenProxy"
            raise ProviderFailed(f"only one identity mode can be enabled at a time: {text}")
        vault, tenant = given.get("keyvaultName", ""), given.get("tenantID") or given.get("tenantId", "")
        if not vault:
            raise ProviderFailed("keyvaultName is not provided")
        if not tenant:
            raise ProviderFailed("tenantId is not provided")
        credential = _Credential(self._cluster, self._outbound, tenant)
        if pods:
            credential.pod_identity()
        elif machines:
            credential.machine(given.get("userAssignedIdentityID", ""))
        elif given.get("clientID"):
            credential.workload(given["clientID"], identity.token)
        else:
            credential.service_principal(identity.secrets)
        wanted = _objects(given.get("objects", ""))
        if wanted and not 3 <= len(vault) <= 24:  # noqa: PLR2004 - Key Vault's rule for names
            raise ProviderFailed(f'failed to get vault: Invalid vault name: "{vault}", must be between 3 and 24 chars')
        if wanted and not re.fullmatch(r"[-A-Za-z0-9]+", vault):
            text = f'failed to get vault: Invalid vault name: "{vault}", must match [-a-zA-Z0-9]{{3,24}}'
            raise ProviderFailed(text)
        return [await self._file(vault, one, credential) for one in wanted]

    async def _file(self, vault: str, wanted: _Wanted, credential: _Credential) -> SecretFile:
        if wanted.type not in _COLLECTIONS:
            raise wanted.failed("Invalid vaultObjectTypes. Should be secret, key, or cert")
        url = f"https://{vault}.{hosts.KEY_VAULT}/{_COLLECTIONS[wanted.type]}/{wanted.name}/{wanted.version}"
        versioned = f"{url}?api-version={_API_VERSION}"
        try:
            reply = await self._outbound.get(versioned)
            if reply.status == _UNAUTHORIZED:  # the challenge, which says where a token is to come from
                reply = await self._outbound.get(versioned, {"Authorization": f"Bearer {await credential.token()}"})
        except Unreachable as fault:
            raise wanted.failed(f'Get "{versioned}": {fault}') from None
        except ProviderFailed as fault:
            raise wanted.failed(str(fault)) from None
        if reply.status != _OK:
            raise wanted.failed(_response_error("GET", url, reply))
        bundle = json.loads(reply.body)
        mode = int(wanted.permission, 8) if wanted.permission else _DEFAULT_MODE
        version = bundle["id"].rpartition("/")[2]
        content = _decoded(bundle["value"], wanted.encoding)
        return SecretFile(wanted.file, content, mode, f"{wanted.type}/{wanted.name}", version)


class _Credential:
    """The way to an access token that the class has chosen. Its setters raise ProviderFailed, as `token` does."""

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
        """Ask the Node Managed Identity of the retired aad-pod-identity, which no AKS of today runs."""
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
        """Return what the instance metadata service would: it serves the identities that the machines have alone."""
        properties = self._cluster.document["properties"]
        addons = [one.get("identity") for one in (properties.get("addonProfiles") or {}).values()]
        identities = [one for one in (*(properties.get("identityProfile") or {}).values(), *addons) if one]
        chosen = [one for one in identities if one["clientId"] == self._machine]
        principal = self._cluster.cloud.entra.principal(chosen[0]["objectId"]) if chosen else None
        if principal is None:
            url = "http://169.254.169.254/metadata/identity/oauth2/token"
            body = {"error": "invalid_request", "error_description": "Identity not found"}
            reply = Reply(400, {}, json.dumps(body).encode())
            raise ProviderFailed(_authentication_failed("ManagedIdentityCredential", url, reply, "GET"))
        return self._cluster.cloud.entra.mint(principal, KEY_VAULT[0])


def _no_auth(why: str) -> ProviderFailed:
    return ProviderFailed(f"failed to build auth config for mode None: {why}")


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "")
    if value not in (*_TRUE, *_FALSE):
        text = f'failed to parse {name} flag, error: strconv.ParseBool: parsing "{value}": invalid syntax'
        raise ProviderFailed(text)
    return value in _TRUE


def _objects(text: str) -> list[_Wanted]:
    """Return the entries of `objects`: YAML in YAML in YAML."""
    if not text:
        raise ProviderFailed("objects is not set")
    try:
        entries: Any = (yaml.safe_load(text) or {})["array"] or []
        objects = [yaml.safe_load(entry) for entry in entries]
        return [_wanted(one) for one in objects]
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as fault:
        raise ProviderFailed(f"failed to yaml unmarshal objects, error: {fault}") from None


def _wanted(entry: Document) -> _Wanted:
    fields = ("objectName", "objectAlias", "objectVersion", "objectType", "objectEncoding", "filePermission")
    wanted = _Wanted(*(str(entry.get(field) or "").strip() for field in fields))
    if wanted.encoding and wanted.encoding.lower() not in ("hex", "base64", "utf-8"):
        raise wanted.failed(f"invalid objectEncoding: {wanted.encoding}, should be hex, base64 or utf-8")
    if not wanted.file:
        raise wanted.failed("file name must not be empty")
    if wanted.file.startswith("/"):
        raise wanted.failed("file name must be a relative path")
    if ".." in wanted.file:
        raise wanted.failed("file name must not contain '..'")
    if wanted.permission and not re.fullmatch(r"[0-7]+", wanted.permission):
        raise wanted.failed(f"file permission must be a valid octal number: {wanted.permission}")
    return wanted


def _decoded(value: str, encoding: str) -> bytes:
    try:
        match encoding.lower():
            case "base64":
                return base64.b64decode(value, validate=True)
            case "hex":
                return bytes.fromhex(value)
    except (binascii.Error, ValueError):  # what the value is must not be told
        raise ProviderFailed(f"illegal {encoding} data") from None
    return value.encode()


# What Azure's SDK for Go prints


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
    asked = [f"{kind} authentication failed. ", f"{method} {url}", _RULE]
    return "\n".join([*asked, f"RESPONSE {reply.status_line}", _RULE, _printed(reply.body), _RULE, ""])
