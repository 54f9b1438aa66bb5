"""The authorization-code flow: Microsoft's own library as the application, a plain client as the browser."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import msal
import pytest
import requests

from rehearsal_cloud.entra.directory import key_id
from rehearsal_cloud.home import TENANT_ID, Home
from rehearsal_cloud.store import Store
from tests.support.azure_requests import GRAPH, when_replicated
from tests.support.registrations import ADMINISTRATOR, DEVELOPER, OUTSIDER, make_group, register

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric import rsa

    from tests.support.azure_requests import Sender
    from tests.support.registrations import Registration
    from tests.support.rehearsal import Rehearsal

# Airflow's library sends no response mode.
pytestmark = pytest.mark.filterwarnings("ignore:response_mode='form_post' is recommended:UserWarning")

AUTHORITY = f"https://login.microsoftonline.com/{TENANT_ID}"
REDIRECT = "http://localhost/auth/oauth-authorized/azure"
HERE = "http://localhost:18080/auth/oauth-authorized/azure"
CLAIMS = {"idToken": [{"name": name} for name in ("upn", "given_name", "family_name")]}


@pytest.fixture
def application(send: Sender) -> Registration:
    web = {"redirectUris": [REDIRECT, "https://airflow.example.com/auth"]}
    return register(send, web=web, groupMembershipClaims="ApplicationGroup", optionalClaims=CLAIMS)


@dataclass(frozen=True)
class Site:
    """The web site that users sign in to."""

    client: msal.ConfidentialClientApplication
    token_endpoint: str
    http: requests.Session

    def begin(self, redirect: str = HERE, **more: Any) -> dict[str, Any]:
        flow: dict[str, Any] = self.client.initiate_auth_code_flow(["email"], redirect, **more)
        return flow

    def finish(self, flow: dict[str, Any], answer: dict[str, str]) -> dict[str, Any]:
        tokens: dict[str, Any] = self.client.acquire_token_by_auth_code_flow(flow, answer)
        return tokens

    def signed_in(self, user: str) -> dict[str, Any]:
        """The claims of the ID token that a user's sign-in ends with."""
        flow = self.begin()
        claims: dict[str, Any] = self.finish(flow, chosen(flow, user))["id_token_claims"]
        return claims


def visit(uri: str, **more: Any) -> requests.Response:
    """Open a page, as a browser that neither knows the rehearsal's proxy nor trusts its CA."""
    with requests.Session() as browser:
        browser.trust_env = False
        return browser.request("POST" if "data" in more else "GET", uri, allow_redirects=False, timeout=10, **more)


def browser_post(uri: str, user: str) -> requests.Response:
    assert visit(uri).text.count("<button") == 4
    return visit(uri, data={"user": user})


def chosen(flow: dict[str, Any], user: str) -> dict[str, str]:
    answer = browser_post(flow["auth_uri"], user)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith(flow["redirect_uri"])
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


@pytest.fixture
def site(rehearsal: Rehearsal, application: Registration) -> Iterator[Site]:
    transport, secret = rehearsal.transport, application.secret()
    with requests.Session() as http:
        http.trust_env = False
        http.proxies, http.verify = transport["proxies"], transport["connection_verify"]
        client = msal.ConfidentialClientApplication(
            application.app_id,
            client_credential=secret,
            authority=AUTHORITY,
            http_client=http,
            instance_discovery=False,
        )
        yield Site(client, f"{AUTHORITY}/oauth2/v2.0/token", http)


def test_a_user_signs_in_by_name_and_the_application_learns_who(site: Site, application: Registration) -> None:
    flow = site.begin()
    assert urlsplit(flow["auth_uri"])[:2] == ("http", flow["auth_uri"].split("/")[2])
    assert urlsplit(flow["auth_uri"]).hostname == "localhost"
    tokens = site.finish(flow, chosen(flow, ADMINISTRATOR))
    claims = tokens["id_token_claims"]
    upn = "administrator@rehearsal.onmicrosoft.com"
    wanted = {
        "aud": application.app_id,
        "iss": f"{AUTHORITY}/v2.0",
        "oid": ADMINISTRATOR,
        "tid": TENANT_ID,
        "ver": "2.0",
    }
    names = {"email": upn, "upn": upn, "preferred_username": upn, "name": "Rehearsal Administrator"}
    assert claims | wanted | names | {"family_name": "Administrator"} == claims
    assert claims["sub"] not in (ADMINISTRATOR, site.signed_in(DEVELOPER)["sub"])
    assert "groups" not in claims
    assert "roles" not in claims
    keys = site.http.get("https://login.microsoftonline.com/common/discovery/keys").json()["keys"]
    key = jwt.PyJWK(keys[0])
    jwt.decode(tokens["id_token"], key.key, algorithms=["RS256"], audience=application.app_id)
    me = site.http.get(f"{GRAPH}/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()
    assert me["id"] == ADMINISTRATOR


def test_a_user_without_mailbox_has_no_email(site: Site) -> None:
    claims = site.signed_in(DEVELOPER)
    assert ("email" in claims, claims["upn"]) == (False, "developer@rehearsal.onmicrosoft.com")


def test_a_token_has_the_groups_that_are_assigned_to_the_application(
    send: Sender, site: Site, application: Registration
) -> None:
    assigned, other = make_group(send, DEVELOPER), make_group(send, DEVELOPER)
    around = make_group(send, assigned)
    for group in (assigned, around):
        application.assign(group)
    assert site.signed_in(DEVELOPER)["groups"] == [assigned]
    assert "groups" not in site.signed_in(OUTSIDER)
    application.change(groupMembershipClaims="SecurityGroup")
    assert set(site.signed_in(DEVELOPER)["groups"]) >= {assigned, other, around}
    send("DELETE", f"{GRAPH}/groups/{assigned}/members/{DEVELOPER}/$ref")
    assert assigned not in site.signed_in(DEVELOPER)["groups"]


def test_a_token_has_the_roles_of_the_application(send: Sender, site: Site, application: Registration) -> None:
    role = {"id": "5c2c6a6e-3a0f-4d0b-8c7e-0d7b1e8a1a01", "value": "Op", "displayName": "Op", "description": "Op"}
    application.change(appRoles=[role | {"allowedMemberTypes": ["User"], "isEnabled": True}])
    application.assign(make_group(send, DEVELOPER), role["id"])
    assert site.signed_in(DEVELOPER)["roles"] == ["Op"]


def test_a_code_counts_once(site: Site) -> None:
    flow = site.begin()
    answer = chosen(flow, DEVELOPER)
    assert "id_token" in site.finish(flow, answer)
    assert "AADSTS54005: " in site.finish(flow, answer)["error_description"]


def test_a_code_that_expired_long_ago_is_forgotten(site: Site, rehearsal: Rehearsal) -> None:
    with closing(Store(Home(rehearsal.home).database)) as store:
        store.put("codes", "of-yesterday", {"expires": time.time() - 86_400})
        site.signed_in(DEVELOPER)
        codes = store.keys("codes")
        assert codes
        assert "of-yesterday" not in codes


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": "x" * 43}, "AADSTS501481: "),
        ({"redirect_uri": REDIRECT}, "AADSTS500112: "),
    ],
)
def test_a_code_is_bound_to_its_request(site: Site, change: dict[str, str], error: str) -> None:
    flow = site.begin()
    refused = site.finish(flow | change, chosen(flow, DEVELOPER))
    assert (refused["error"], error in refused["error_description"]) == ("invalid_grant", True)


def test_a_code_is_of_one_application(send: Sender, site: Site) -> None:
    flow = site.begin()
    other = register(send, web={"redirectUris": [REDIRECT]})
    answer = redeem(site, {"client_id": other.app_id, "client_secret": other.secret()}, flow, chosen(flow, DEVELOPER))
    assert answer.json()["error_codes"] == [70000]


def redeem(site: Site, client: dict[str, str], flow: dict[str, Any], answer: dict[str, str]) -> requests.Response:
    form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": flow["redirect_uri"]}
    return site.http.post(site.token_endpoint, form | {"code_verifier": flow["code_verifier"]} | client)


def test_an_expired_secret_is_named_so(site: Site, application: Registration) -> None:
    secret = application.secret(endDateTime="2020-01-01T00:00:00Z")
    flow = site.begin()
    answer = redeem(site, {"client_id": application.app_id, "client_secret": secret}, flow, chosen(flow, DEVELOPER))
    assert (answer.status_code, answer.json()["error_codes"]) == (401, [7000222])


def test_a_service_account_proves_the_application_in_place_of_a_secret(
    send: Sender, site: Site, application: Registration, issuer: str, cluster_key: rsa.RSAPrivateKey
) -> None:
    subject, audience = "system:serviceaccount:airflow:airflow", "api://AzureADTokenExchange"
    trust = {"name": "airflow", "issuer": issuer, "subject": subject, "audiences": [audience]}
    assert send("POST", f"{application.url}/federatedIdentityCredentials", trust).status_code == 201
    now = int(time.time())
    claims = {"iss": issuer, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + 600}
    flow = site.begin()
    client = {
        "client_id": application.app_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, cluster_key, "RS256", {"kid": key_id(cluster_key)}),
    }
    answer = redeem(site, client, flow, chosen(flow, DEVELOPER))
    assert answer.status_code == 200, answer.text
    client["client_assertion"] = jwt.encode(
        claims | {"sub": "other"}, cluster_key, "RS256", {"kid": key_id(cluster_key)}
    )
    assert redeem(site, client, flow, chosen(flow, DEVELOPER)).json()["error_codes"] == [700213]


def test_a_refresh_token_gets_the_groups_of_now(send: Sender, site: Site, application: Registration) -> None:
    flow = site.begin()
    tokens = site.finish(flow, chosen(flow, DEVELOPER))
    group = make_group(send, DEVELOPER)
    application.assign(group)
    fresh = site.client.acquire_token_by_refresh_token(tokens["refresh_token"], ["email"])
    assert fresh["id_token_claims"]["groups"] == [group]


# The page


@pytest.mark.parametrize(
    ("redirect", "allowed"),
    [
        (HERE, True),
        (REDIRECT, True),
        ("https://airflow.example.com/auth", True),
        ("https://airflow.example.com:8443/auth", False),
        ("http://localhost:18080/auth/other", False),
        ("https://localhost:18080/auth/oauth-authorized/azure", False),
        ("http://127.0.0.1:18080/auth/oauth-authorized/azure", False),
    ],
)
def test_a_redirect_uri_is_registered_but_for_the_port_on_localhost(site: Site, redirect: str, allowed: bool) -> None:  # noqa: FBT001 - a parameter of cases
    page = visit(site.begin(redirect)["auth_uri"])
    assert page.status_code == (200 if allowed else 400)
    assert ("AADSTS50011: The redirect URI" in page.text) is not allowed


def test_who_is_not_assigned_is_refused_and_an_administrator_has_to_consent(
    send: Sender, site: Site, application: Registration
) -> None:
    application.require_assignment()
    application.assign(make_group(send, DEVELOPER))
    uri = site.begin()["auth_uri"]
    assert "AADSTS50105: Your administrator has configured" in browser_post(uri, OUTSIDER).text
    assert "AADSTS90094: " in browser_post(uri, DEVELOPER).text
    microsoft_graph = send("GET", f"{GRAPH}/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')").json()
    consent = {"clientId": application.principal, "resourceId": microsoft_graph["id"], "scope": "openid profile"}
    body = consent | {"consentType": "AllPrincipals"}
    granted = when_replicated(partial(send, "POST", f"{GRAPH}/oauth2PermissionGrants", body)).json()
    assert "AADSTS90094: " in browser_post(uri, DEVELOPER).text
    more = {"scope": "openid profile email offline_access"}
    assert send("PATCH", f"{GRAPH}/oauth2PermissionGrants/{granted['id']}", more).status_code == 204
    assert site.signed_in(DEVELOPER)["oid"] == DEVELOPER
    assert "AADSTS50105" in browser_post(uri, OUTSIDER).text


@pytest.mark.parametrize(
    ("more", "error"),
    [({"prompt": "none"}, "login_required"), ({"response_type": "id_token"}, "unsupported_response_type")],
)
def test_an_error_goes_back_to_the_application(site: Site, more: dict[str, str], error: str) -> None:
    uri = requests.Request("GET", site.begin()["auth_uri"], params=more).prepare().url
    if "response_type" in more:
        uri = site.begin()["auth_uri"].replace("response_type=code", "response_type=id_token")
    answer = visit(str(uri))
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert (query["error"], "state" in query) == ([error], True)


def test_nobody_signs_in_to_a_disabled_application(send: Sender, site: Site, application: Registration) -> None:
    url = f"{GRAPH}/servicePrincipals/{application.principal}"
    assert send("PATCH", url, {"accountEnabled": False}).status_code == 204
    assert send("GET", url).json()["accountEnabled"] is False
    assert "AADSTS7000112: " in browser_post(site.begin()["auth_uri"], DEVELOPER).text


def test_an_application_may_have_its_answer_posted(site: Site) -> None:
    page = browser_post(site.begin(response_mode="form_post")["auth_uri"], DEVELOPER)
    assert (page.status_code, f'action="{HERE}"' in page.text, 'name="code"' in page.text) == (200, True, True)


def test_an_unknown_application_is_told_so_on_the_page(site: Site, application: Registration) -> None:
    uri = site.begin()["auth_uri"].replace(application.app_id, "5c2c6a6e-3a0f-4d0b-8c7e-0d7b1e8a1a02")
    assert "AADSTS700016: " in visit(uri).text


def test_who_signs_out_goes_where_the_application_wants_if_that_is_registered(site: Site) -> None:
    logout = site.begin()["auth_uri"].partition("/authorize?")[0] + "/logout"
    back = visit(logout, params={"post_logout_redirect_uri": HERE})
    assert (back.status_code, back.headers["Location"]) == (302, HERE)
    away = requests.get(
        logout, {"post_logout_redirect_uri": "https://evil.example/"}, allow_redirects=False, timeout=10
    )
    assert (away.status_code, "You signed out" in away.text) == (200, True)


def test_the_pages_are_no_way_to_the_rest(site: Site, rehearsal: Rehearsal) -> None:
    base = "/".join(site.begin()["auth_uri"].split("/")[:3])
    assert visit(f"{base}/rehearsal/faults").status_code == 401
    assert visit(f"{base}/subscriptions").status_code == 404
    logs = (rehearsal.home / "requests.jsonl").read_text()
    assert "/oauth2/v2.0/authorize" in logs
