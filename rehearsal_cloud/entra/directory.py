"""Entra ID: principals, group membership, and the tokens that they sign in with.

Tokens are RS256 JWTs with the claims of Entra's v1 access tokens
(https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference). Every service of the rehearsal
verifies signature, issuer, audience and expiry of received tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rehearsal_cloud.entra.permissions import DIRECTORY_ROLES, Permissions
from rehearsal_cloud.entra.ready_made_users import USERS
from rehearsal_cloud.entra.replicas import Replicas
from rehearsal_cloud.entra.verifier import Verifier
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import OPERATOR_CLIENT_ID, OPERATOR_NAME, OPERATOR_OBJECT_ID, TENANT_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.home import Settings
    from rehearsal_cloud.store import Store

Kind = Literal["ServicePrincipal", "Group", "User"]

ISSUER = f"https://sts.windows.net/{TENANT_ID}/"
TOKEN_SECONDS = 3600
RESOURCE_MANAGER = ("https://management.azure.com", "https://management.core.windows.net")
GRAPH = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
KEY_VAULT = ("https://vault.azure.net",)
POSTGRESQL = ("https://ossrdbms-aad.database.windows.net",)
CONTAINER_REGISTRY = ("https://containerregistry.azure.net", *RESOURCE_MANAGER)
AKS_SERVER = ("6dae42f8-4368-4678-94ff-3960e28e3630",)
GRAPH_OBJECT_ID = "66666666-6666-4666-8666-666666666666"
"""Of Microsoft Graph's own service principal, whose ID every tenant has of its own."""
AUDIENCES = {*RESOURCE_MANAGER, *GRAPH, *KEY_VAULT, *POSTGRESQL, *CONTAINER_REGISTRY, *AKS_SERVER}


@dataclass(frozen=True)
class Principal:
    """A security principal: a service principal (such as a managed identity), a group or a user."""

    object_id: str
    kind: Kind
    name: str
    app_id: str = ""
    visible_at: float = 0.0


class Entra:
    """The tenant's directory and its token service."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._settings = settings
        self.store = Replicas(store, self.delay)
        self._key = signing_key(store, "entra")
        self._verifier = Verifier(self._key, ISSUER)
        self.permissions = Permissions(store)
        for object_id, user in USERS.items():
            store.put("principals", object_id, vars(Principal(object_id, "User", str(user["displayName"]))))
            store.put("users", object_id, user)
        microsoft_graph = Principal(GRAPH_OBJECT_ID, "ServicePrincipal", "Microsoft Graph", GRAPH[1])
        store.put("principals", GRAPH_OBJECT_ID, vars(microsoft_graph))
        if self.principal(OPERATOR_OBJECT_ID) is None:
            operator = Principal(OPERATOR_OBJECT_ID, "ServicePrincipal", OPERATOR_NAME, OPERATOR_CLIENT_ID)
            self._put(operator)
            self.store.put("applications", OPERATOR_CLIENT_ID, {"appId": OPERATOR_CLIENT_ID, "passwords": []})
        self.set_password(OPERATOR_CLIENT_ID, "operator", settings.operator_secret)
        for role in DIRECTORY_ROLES.values():
            self.permissions.assign_role(OPERATOR_OBJECT_ID, role)

    @property
    def delay(self) -> float:
        """Return the seconds until another service, or a replica, knows what was written."""
        return self._settings.scaled(self._settings.replication_seconds)

    # Directory

    def replica(self) -> Entra:
        """Return the directory as the replica has it that answers the next request to Microsoft Graph."""
        replica = copy(self)
        replica.store = self.store.another()
        return replica

    def add(self, kind: Kind, name: str, app_id: str = "") -> Principal:
        """Create a principal; other services see it only after the replication delay."""
        principal = Principal(str(uuid.uuid4()), kind, name, app_id, time.time() + self.delay)
        self._put(principal)
        return principal

    def remove(self, object_id: str) -> None:
        """Delete a principal, its memberships, and what it is assigned or granted."""
        self.store.delete("principals", object_id)
        for assignment in self.store.scan("assigned"):
            if object_id in (assignment["principalId"], assignment["resourceId"]):
                self.store.delete("assigned", f"{assignment['resourceId']}/{assignment['id']}")
        for grant in self.store.scan("permission-grants"):
            if object_id == grant["clientId"]:
                self.store.delete("permission-grants", grant["id"])
        for member in self.store.scan("members"):
            if object_id in (member["group"], member["member"]):
                self.store.delete("members", f"{member['group']}/{member['member']}")

    def principal(self, object_id: str) -> Principal | None:
        """Return the principal with this object ID, replicated or not."""
        document = self.store.get("principals", object_id.lower())
        return None if document is None else Principal(**document)

    def replicated(self, object_id: str) -> Principal | None:
        """Return the principal if it is already replicated to the other services."""
        principal = self.principal(object_id)
        return principal if principal is not None and principal.visible_at <= time.time() else None

    def by_app_id(self, app_id: str) -> Principal | None:
        """Return the service principal of an application or managed identity."""
        return next(
            (principal for principal in self.principals("ServicePrincipal") if principal.app_id == app_id.lower()), None
        )

    def principals(self, kind: Kind) -> list[Principal]:
        """Return all principals of a kind."""
        everybody = (Principal(**document) for document in self.store.scan("principals"))
        return [principal for principal in everybody if principal.kind == kind]

    def add_member(self, group: str, member: str) -> None:
        """Add a principal to a group."""
        self.store.put("members", f"{group}/{member}", {"group": group, "member": member})

    def remove_member(self, group: str, member: str) -> None:
        """Remove a principal from a group."""
        self.store.delete("members", f"{group}/{member}")

    def members(self, group: str) -> list[str]:
        """Return the object IDs of the group's direct members."""
        return [membership["member"] for membership in self.store.scan("members", f"{group}/")]

    def identities(self, object_id: str) -> set[str]:
        """Return the principal's object ID and those of all its groups, direct and transitive."""
        links = [key.split("/") for key in self.store.keys("members")]
        identities = {object_id}
        while fresh := {group for group, member in links if member in identities} - identities:
            identities |= fresh
        return identities

    def set_password(self, app_id: str, name: str, password: str, about: Document | None = None) -> None:
        """Add a password of the application, with what Graph tells about it; only its hash is stored."""
        application = self.store.get("applications", app_id) or {"appId": app_id, "passwords": []}
        kept = [credential for credential in application["passwords"] if credential["name"] != name]
        application["passwords"] = [*kept, {"name": name, "hash": _hash(password), "about": about or {}}]
        self.store.put("applications", app_id, application)

    def remove_password(self, app_id: str, name: str) -> bool:
        """Remove the application's password of that name; tell whether there was one."""
        application: Document = self.store.get("applications", app_id) or {"passwords": []}
        kept = [credential for credential in application["passwords"] if credential["name"] != name]
        removed = len(kept) < len(application["passwords"])
        if removed:
            self.store.put("applications", app_id, {**application, "passwords": kept})
        return removed

    def password(self, app_id: str, password: str) -> Document | None:
        """Return the application's password credential that `password` is the text of, or None."""
        application: Document = self.store.get("applications", app_id.lower()) or {"passwords": []}
        hashed = _hash(password)
        return next((kept for kept in application["passwords"] if hmac.compare_digest(kept["hash"], hashed)), None)

    def _put(self, principal: Principal) -> None:
        self.store.put("principals", principal.object_id, vars(principal))

    # Tokens

    def mint(self, principal: Principal, audience: str) -> str:
        """Return a signed access token of `principal`, a service principal, for `audience`, valid for an hour."""
        claims = {
            "aud": audience,
            "iss": ISSUER,
            "appid": principal.app_id,
            "appidacr": "1",
            "idp": ISSUER,
            "idtyp": "app",
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": TENANT_ID,
            "app_displayname": principal.name,
            "wids": self.permissions.roles(principal.object_id),
            "roles": sorted(self.permissions.of(principal.object_id)) if audience.rstrip("/") in GRAPH else [],
            "ver": "1.0",
        }
        return self.sign(claims)

    def sign(self, claims: Document) -> str:
        """Return a token with the claims, valid for an hour from now."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + TOKEN_SECONDS, "uti": uuid.uuid4().hex}
        return jwt.encode({**claims, **times}, self._key, "RS256", {"kid": key_id(self._key)})

    def verify(self, authorization: str, audiences: tuple[str, ...]) -> Principal:
        """Return the principal of the `Authorization` header. Raises ServiceError (401) for an invalid token."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            text = "Authentication failed. The 'Authorization' header is missing."
            raise ServiceError(401, "AuthenticationFailed", text)
        try:
            claims = self._verifier.claims(token)
        except jwt.ExpiredSignatureError:
            raise ServiceError(
                401, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time."
            ) from None
        except jwt.InvalidTokenError as fault:
            raise ServiceError(401, "InvalidAuthenticationToken", f"The access token is invalid: {fault}") from None
        if claims["aud"].removesuffix("/") not in audiences:
            text = (
                "The access token has been obtained for wrong audience or resource. It should be one of:"
                f" {', '.join(audiences)}."
            )
            raise ServiceError(401, "InvalidAuthenticationTokenAudience", text)
        principal = self.principal(claims["oid"])
        if principal is None:
            text = f"The principal '{claims['oid']}' of the access token is not in the directory any more."
            raise ServiceError(401, "InvalidAuthenticationToken", text)
        return principal

    def jwks(self) -> dict[str, Any]:
        """Return the public keys that verify tokens (RFC 7517)."""
        return jwks(self._key)


def signing_key(store: Store, name: str) -> rsa.RSAPrivateKey:
    """Return the RSA signing key of `name`, created on first use and stored."""
    kept = store.get("keys", name)
    if kept is None:
        fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = fresh.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        kept = {"pem": pem.decode()}
        store.put("keys", name, kept)
    key = serialization.load_pem_private_key(kept["pem"].encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - it was made above
    return key


def key_id(key: rsa.RSAPrivateKey) -> str:
    """Return a stable ID for the key: a hash of its public half."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()[:32]


def jwks(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return the key's public half as a JSON Web Key Set (RFC 7517)."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"keys": [{**public, "kid": key_id(key), "use": "sig", "alg": "RS256"}]}


def _hash(password: str) -> str:
    # A plain hash suffices: these passwords are 240 random bits, never chosen by a person.
    return hashlib.sha256(password.encode()).hexdigest()
