"""Tokens: who gets one, what is in it, and who accepts it."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jwt
import pytest
from azure.core import PipelineClient
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.policies import ProxyPolicy
from azure.core.rest import HttpRequest
from azure.identity import ClientAssertionCredential
from cryptography.hazmat.primitives.asymmetric import rsa

from rehearsal_cloud.entra.directory import TOKEN_SECONDS, jwks, key_id, signing_key
from rehearsal_cloud.home import OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, TENANT_ID
from rehearsal_cloud.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse

    from tests.support.azure_requests import Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

LOGIN = f"https://login.microsoftonline.com/{TENANT_ID}"
SCOPE = "https://management.azure.com/.default"
SUBJECT = "system:serviceaccount:airflow:airflow"
AUDIENCE = "api://AzureADTokenExchange"


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


# What a token is


def test_a_token_verifies_with_the_published_keys(operator: TokenCredential, send: Sender) -> None:
    token = operator.get_token(SCOPE).token
    keys = send("GET", f"{LOGIN}/discovery/v2.0/keys", scope="").json()
    key = next(one for one in keys["keys"] if one["kid"] == jwt.get_unverified_header(token)["kid"])
    claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["RS256"], audience="https://management.azure.com")
    assert claims["iss"] == f"https://sts.windows.net/{TENANT_ID}/"
    assert (claims["oid"], claims["appid"], claims["tid"]) == (OPERATOR_OBJECT_ID, OPERATOR_CLIENT_ID, TENANT_ID)
    assert claims["exp"] - claims["iat"] == TOKEN_SECONDS


def test_discovery_names_the_endpoints_that_are_served(send: Sender) -> None:
    found = send("GET", f"{LOGIN}/v2.0/.well-known/openid-configuration", scope="").json()
    assert found["token_endpoint"] == f"{LOGIN}/oauth2/v2.0/token"
    assert send("GET", found["jwks_uri"], scope="").json()["keys"]


# Who gets none


@pytest.fixture
def ask(rehearsal: Rehearsal) -> Callable[..., HttpResponse]:
    """The token endpoint, asked with a form that is right but for what the test says."""

    def post(tenant: str = TENANT_ID, **changes: str | None) -> HttpResponse:
        form = {
            "grant_type": "client_credentials",
            "client_id": OPERATOR_CLIENT_ID,
            "client_secret": rehearsal.connection["AZURE_CLIENT_SECRET"],
            "scope": SCOPE,
            **changes,
        }
        body = urlencode({key: value for key, value in form.items() if value is not None})
        url = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        policies = [ProxyPolicy(proxies=rehearsal.transport["proxies"])]
        verify = rehearsal.connection["REQUESTS_CA_BUNDLE"]
        with PipelineClient("", policies=policies, connection_verify=verify) as client:
            return client.send_request(HttpRequest("POST", url, content=body, headers=headers))

    return post


@pytest.mark.parametrize(
    ("changes", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        ({"client_id": str(uuid.uuid4())}, 400, "unauthorized_client", 700016),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": "https://nothing.example/.default"}, 400, "invalid_resource", 500011),
        ({"tenant": str(uuid.uuid4())}, 400, "invalid_request", 90002),
    ],
)
def test_a_sign_in_is_refused_as_entra_refuses_it(
    ask: Callable[..., HttpResponse], changes: dict[str, str | None], status: int, error: str, code: int
) -> None:
    answer = ask(**changes)
    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (status, error, [code])
    assert answer.json()["error_description"].startswith(f"AADSTS{code}: ")


def test_a_refused_secret_is_not_repeated(rehearsal: Rehearsal) -> None:
    credential = rehearsal.credential(secret="a-wrong-secret-to-look-for")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215") as refused:
        credential.get_token(SCOPE)
    credential.close()
    assert "a-wrong-secret" not in str(refused.value)
    logs = (rehearsal.home / "requests.jsonl").read_text() + (rehearsal.home / "rehearsal.log").read_text()
    assert "a-wrong-secret" not in logs
    assert rehearsal.connection["AZURE_CLIENT_SECRET"] not in logs


# Who accepts it


def test_a_token_for_another_audience_is_refused(rehearsal: Rehearsal, send: Sender) -> None:
    url = f"/subscriptions/{rehearsal.subscription}?api-version=2022-12-01"
    answer = send("GET", url, scope="https://vault.azure.net/.default")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")


def forged(operator: TokenCredential, key: rsa.RSAPrivateKey, **changes: Any) -> dict[str, str]:
    claims = claims_of(operator.get_token(SCOPE).token) | changes
    return {"Authorization": f"Bearer {jwt.encode(claims, key, 'RS256', {'kid': key_id(key)})}"}


@pytest.fixture
def entra_key(rehearsal: Rehearsal) -> rsa.RSAPrivateKey:
    """The tenant's own key, with which a test makes tokens that Entra would not."""
    store = Store(rehearsal.home / "cloud.sqlite")
    key = signing_key(store, "entra")
    store.close()
    return key


def test_a_token_of_another_key_is_refused(rehearsal: Rehearsal, send: Sender, operator: TokenCredential) -> None:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    url = f"/subscriptions/{rehearsal.subscription}?api-version=2022-12-01"
    answer = send("GET", url, scope="", headers=forged(operator, own))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({}, 200, None),
        ({"exp": int(time.time()) - 1}, 401, "ExpiredAuthenticationToken"),
        ({"iss": f"https://sts.windows.net/{uuid.uuid4()}/"}, 401, "InvalidAuthenticationToken"),
        ({"oid": str(uuid.uuid4())}, 401, "InvalidAuthenticationToken"),
    ],
)
def test_an_expired_or_foreign_token_is_refused(
    rehearsal: Rehearsal,
    send: Sender,
    operator: TokenCredential,
    entra_key: rsa.RSAPrivateKey,
    changes: dict[str, Any],
    status: int,
    code: str | None,
) -> None:
    url = f"/subscriptions/{rehearsal.subscription}?api-version=2022-12-01"
    answer = send("GET", url, scope="", headers=forged(operator, entra_key, **changes))
    assert (answer.status_code, answer.json().get("error", {}).get("code")) == (status, code)


def test_a_deleted_principal_is_refused(send: Sender, rehearsal: Rehearsal, newcomer: Newcomer) -> None:
    url = f"/subscriptions/{rehearsal.subscription}?api-version=2022-12-01"
    assert send("GET", url, credential=newcomer.credential).json()["error"]["code"] == "AuthorizationFailed"
    send("DELETE", f"https://graph.microsoft.com/v1.0/servicePrincipals/{newcomer.object_id}")
    assert send("GET", url, credential=newcomer.credential).json()["error"]["code"] == "InvalidAuthenticationToken"


# Workload identity federation


@pytest.fixture
def identity(rehearsal: Rehearsal, group: str, send: Sender, issuer: str) -> str:
    """The client ID of an identity that trusts one subject of the cluster's issuer."""
    base = (
        f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities/pods"
    )
    made = send("PUT", f"{base}?api-version=2024-11-30", {"location": "westeurope"}).json()
    body = {"properties": {"issuer": issuer, "subject": SUBJECT, "audiences": [AUDIENCE]}}
    trusted = send("PUT", f"{base}/federatedIdentityCredentials/airflow?api-version=2024-11-30", body)
    assert trusted.status_code == 201
    return str(made["properties"]["clientId"])


def sign_in(rehearsal: Rehearsal, client_id: str, issuer: str, key: rsa.RSAPrivateKey, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": issuer, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600} | changes
    assertion = jwt.encode(claims, key, "RS256", {"kid": key_id(key)})
    transport = rehearsal.transport
    credential = ClientAssertionCredential(
        TENANT_ID,
        client_id,
        lambda: assertion,
        proxies=transport["proxies"],
        connection_verify=transport["connection_verify"],
    )
    with credential:
        return credential.get_token(SCOPE).token


def test_a_service_account_signs_in_as_the_identity(
    rehearsal: Rehearsal, identity: str, issuer: str, cluster_key: rsa.RSAPrivateKey
) -> None:
    assert claims_of(sign_in(rehearsal, identity, issuer, cluster_key))["appid"] == identity


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://other.example/"}, 700211),
        ({"sub": "system:serviceaccount:airflow:other"}, 700213),
        ({"aud": ["https://other.example"]}, 700213),
        ({"exp": int(time.time()) - 600, "iat": int(time.time()) - 1200, "nbf": int(time.time()) - 1200}, 700024),
    ],
)
def test_an_assertion_that_is_not_trusted_is_refused(
    rehearsal: Rehearsal,
    identity: str,
    issuer: str,
    cluster_key: rsa.RSAPrivateKey,
    changes: dict[str, Any],
    code: int,
) -> None:
    with pytest.raises(ClientAuthenticationError, match=f"AADSTS{code}: "):
        sign_in(rehearsal, identity, issuer, cluster_key, **changes)


def test_an_issuer_that_entra_cannot_reach_proves_nobody(
    rehearsal: Rehearsal, identity: str, issuer: str, cluster_key: rsa.RSAPrivateKey
) -> None:
    rehearsal.control("POST", {"methods": ["GET"], "host": "oic.prod-aks.azure.com", "status": 503})
    try:
        with pytest.raises(ClientAuthenticationError, match="AADSTS90061: Request to External OIDC endpoint failed"):
            sign_in(rehearsal, identity, issuer, cluster_key)
    finally:
        rehearsal.control("DELETE")
    assert claims_of(sign_in(rehearsal, identity, issuer, cluster_key))["appid"] == identity


def test_an_assertion_of_another_key_is_refused(
    rehearsal: Rehearsal, identity: str, issuer: str, cluster_key: rsa.RSAPrivateKey
) -> None:
    assert cluster_key
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(ClientAuthenticationError, match="AADSTS700027: "):
        sign_in(rehearsal, identity, issuer, own)


def test_an_issuer_out_of_reach_is_named_so(
    rehearsal: Rehearsal, identity: str, issuer: str, cluster_key: rsa.RSAPrivateKey, group: str, send: Sender
) -> None:
    path = (
        f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities/pods/federatedIdentityCredentials/elsewhere?api-version=2024-11-30"
    )
    body = {"properties": {"issuer": "https://away.example/", "subject": SUBJECT, "audiences": [AUDIENCE]}}
    assert send("PUT", path, body).status_code == 201
    with pytest.raises(ClientAuthenticationError, match="AADSTS90061: "):
        sign_in(rehearsal, identity, issuer, cluster_key, iss="https://away.example/")


def test_an_issuer_serves_its_keys(send: Sender, issuer: str, cluster_key: rsa.RSAPrivateKey) -> None:
    found = send("GET", f"{issuer}.well-known/openid-configuration", scope="").json()
    assert found["issuer"] == issuer
    assert send("GET", found["jwks_uri"], scope="").json() == json.loads(json.dumps(jwks(cluster_key)))
    assert send("GET", f"{issuer}nothing", scope="").status_code == 404


def test_sign_ins_are_counted_in_the_request_log_without_their_form(rehearsal: Rehearsal, identity: str) -> None:
    entries = [one for one in rehearsal.requests() if re.search("oauth2/v2.0/token$", one["path"])]
    assert entries
    assert identity not in json.dumps(entries)
