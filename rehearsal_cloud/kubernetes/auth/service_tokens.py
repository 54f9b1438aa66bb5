"""Service account tokens: issued by TokenRequest, signed with the key of the cluster's OIDC issuer, and verified.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import jwt

from rehearsal_cloud.entra.directory import key_id, signing_key
from rehearsal_cloud.entra.verifier import Verifier
from rehearsal_cloud.kubernetes.auth.rbac import User, quoted, service_account_groups, service_account_name
from rehearsal_cloud.kubernetes.failures import Failure, bad_request, not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

_DEFAULT_SECONDS = 3600
_LEAST_SECONDS = 600
_MOST_SECONDS = 1 << 32
_CLAIM = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io"
_BINDABLE = (("v1", "Pod"), ("v1", "Secret"), ("v1", "Node"))
_INVALID = "invalid bearer token"


class InvalidToken(Exception):
    """An invalid token; its text is the error of a TokenReview."""


class ServiceTokens:
    """Issues and verifies the tokens of one cluster's service accounts."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._objects = cluster.objects
        self._key = signing_key(cluster.cloud.store, f"oidc {cluster.issuer}")
        self._verifier = Verifier(self._key, cluster.issuer)

    @property
    def audiences(self) -> list[str]:
        """Return the default audiences of a token: the cluster's API server."""
        return [self._cluster.issuer, f"https://{self._cluster.document['properties']['fqdn']}"]

    def request(self, namespace: str, name: str, spec: Document) -> Document:
        """Return the answer to a TokenRequest, with the token in its status. Raises Failure: 404, 400, 409, 422."""
        account = self._objects.get("ServiceAccount", name, namespace)
        if account is None:
            raise not_found(self._objects.kinds.named("ServiceAccount"), name)
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        _check_seconds(seconds)
        reference = spec.get("boundObjectRef")
        bound = self._bound(namespace, name, reference) if reference else {}
        now = int(time.time())
        audiences = spec.get("audiences") or self.audiences
        claims = {
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "iss": self._cluster.issuer,
            "jti": str(uuid.uuid4()),
            _CLAIM: {"namespace": namespace, **bound, "serviceaccount": _reference(account)},
            "nbf": now,
            "sub": service_account_name(namespace, name),
        }
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": _time(now)},
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference},
            "status": {
                "token": jwt.encode(claims, self._key, "RS256", {"kid": key_id(self._key)}),
                "expirationTimestamp": _time(now + seconds),
            },
        }

    def _bound(self, namespace: str, account: str, reference: Document) -> Document:
        """Return the claims of the object that the token is bound to."""
        api_version, kind = reference.get("apiVersion", ""), reference.get("kind", "")
        if (api_version, kind) not in _BINDABLE:
            group, _, version = api_version.rpartition("/")
            raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        name = reference.get("name", "")
        bound_object = self._objects.get(kind, name, "" if kind == "Node" else namespace)
        if bound_object is None:
            raise not_found(self._objects.kinds.named(kind), name)
        if kind == "Pod" and bound_object["spec"].get("serviceAccountName") != account:
            text = (
                f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
            )
            raise bad_request(text)
        uid = reference.get("uid")
        if uid and uid != bound_object["metadata"]["uid"]:
            text = (
                f'Operation cannot be fulfilled on {kind} "{name}": the UID in the bound object reference ({uid}) does'
                " not match the UID in record. The object might have been deleted and then recreated"
            )
            raise Failure(409, "Conflict", text, {"name": name, "kind": kind})
        claims = {kind.lower(): _reference(bound_object)}
        node = self._objects.get("Node", bound_object["spec"].get("nodeName", "")) if kind == "Pod" else None
        return claims | ({"node": _reference(node)} if node else {})

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]]:
        """Return the user of the token, and the matching audiences (default: the API server's).

        Raises InvalidToken: forged, expired, of a different audience, or bound to a deleted object.
        """
        expected = list(audiences) or self.audiences
        try:
            claims = self._verifier.claims(token)
        except jwt.ExpiredSignatureError:
            raise InvalidToken(f"[{_INVALID}, service account token has expired]") from None
        except jwt.InvalidTokenError:
            raise InvalidToken(_INVALID) from None
        served = [audience for audience in expected if audience in claims["aud"]]
        if not served:
            text = f"token audiences {quoted(claims['aud'])} is invalid for the target audiences {quoted(expected)}"
            raise InvalidToken(f"[{_INVALID}, {text}]")
        return self._user(claims), served

    def _user(self, claims: Document) -> User:
        """Return the user of verified claims. Raises InvalidToken where a bound object is gone."""
        about = claims[_CLAIM]
        namespace, account = about["namespace"], about["serviceaccount"]
        for kind, place in (("ServiceAccount", namespace), ("Pod", namespace), ("Secret", namespace), ("Node", "")):
            reference = about.get(kind.lower())
            stored = self._objects.get(kind, reference["name"], place) if reference else None
            if reference and (stored is None or stored["metadata"]["uid"] != reference["uid"]):
                raise InvalidToken(f"[{_INVALID}, {kind.lower()} {namespace}/{reference['name']} has been deleted]")
        extra = {f"{_EXTRA}/credential-id": (f"JTI={claims['jti']}",)}
        for kind in ("node", "pod"):
            if kind in about:
                extra[f"{_EXTRA}/{kind}-name"] = (about[kind]["name"],)
                extra[f"{_EXTRA}/{kind}-uid"] = (about[kind]["uid"],)
        groups = service_account_groups(namespace)
        return User(service_account_name(namespace, account["name"]), account["uid"], groups, extra)


def _check_seconds(seconds: int) -> None:
    why = ""
    if seconds < _LEAST_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > _MOST_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {seconds}: {why}"}
        field = "spec.expirationSeconds"
        details = {"group": "authentication.k8s.io", "kind": "TokenRequest", "causes": [{**cause, "field": field}]}
        text = f'TokenRequest.authentication.k8s.io "" is invalid: {field}: {cause["message"]}'
        raise Failure(422, "Invalid", text, details)


def _reference(document: Document) -> Document:
    return {"name": document["metadata"]["name"], "uid": document["metadata"]["uid"]}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
