"""What identifies somebody or something is replaced one for one, and keeps its shape; the rest stays."""

from __future__ import annotations

from typing import Any

import pytest

from airflowaks.cloud.pseudonyms import Pseudonyms

SUBSCRIPTION = "/subscriptions/5b2f6a1e-7f0e-4c3b-9f1d-2a6c8e4d0b11"
GUID = "00000000-0000-4000-8000-{:012}"


def replaced(value: Any) -> Any:
    return Pseudonyms(["airflow-dev", "airflow-dev-pg"], "westeurope").document(value)


@pytest.mark.parametrize(
    ("text", "pseudonym"),
    [
        ("c0ffee00-1111-4222-8333-444444444444", GUID.format(1)),
        ("C0FFEE00-1111-4222-8333-444444444444", GUID.format(1)),
        ("airflow-dev-pg.postgres.database.azure.com", "name0001.postgres.database.azure.com"),
        ("airflow-dev-dns-1a2b.hcp.westeurope.azmk8s.io", "name0001.hcp.westeurope.azmk8s.io"),
        ("https://proxy.contoso.com:3128/", "https://name0001.name0002.com:3128/"),
        ("ada_contoso.com#EXT#@fabrikam.onmicrosoft.com", "name0001@example.com"),
        (
            "eyJhbGciOi.J9eyJvaWQiOiJhYmMifQ.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU-sig",
            "eyJhbGciOi.J9eyJvaWQiOiJhYmMifQ.(secret)",
        ),
        ("ReocUrdst3H3ruByR9zhpkcQcbXYstJjY8kX/aeAUc8=", "(secret)"),
        ("203.0.113.7/32", "198.18.0.1/32"),
        ("2a01:111:f403::1", "2001:db8::1"),
        ("10.17.3.0/24", "10.1.3.0/24"),
        ("10.0.0.10", "10.0.0.10"),
        ("12:30:45", "12:30:45"),
        ("2026-11-29T01:14:11.5Z", "2026-11-29T01:14:11.5Z"),
        ("AKSUbuntu-2204gen2containerd-202611.03.0", "AKSUbuntu-2204gen2containerd-202611.03.0"),
        ("Standard_D4ds_v5", "Standard_D4ds_v5"),
        ("apache/airflow:3.3.2", "apache/airflow:3.3.2"),
        (f"{SUBSCRIPTION}/resourceGroups/MC_x_y", f"/subscriptions/{GUID.format(1)}/resourceGroups/name0001"),
        (
            f"{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/usages",
            f"/subscriptions/{GUID.format(1)}/providers/Microsoft.Compute/locations/westeurope/usages",
        ),
    ],
)
def test_a_value_keeps_its_shape(text: str, pseudonym: str) -> None:
    assert replaced({"key": text}) == {"key": pseudonym}


def test_equal_values_get_equal_pseudonyms_and_different_ones_differ() -> None:
    pseudonyms = Pseudonyms(["airflow-dev"], "westeurope")
    ids = [f"{SUBSCRIPTION}/resourceGroups/{group}/providers/X.Y/zs/{name}" for group in "ab" for name in ("c1", "C1")]
    replaced = [pseudonyms.text(each) for each in ids]
    assert replaced[0] == replaced[1]
    assert len(set(replaced)) == 2


@pytest.mark.parametrize(
    "document",
    [
        {"displayName": "Contoso", "mail": "x", "jobTitle": "Contoso's"},
        {"tags": {"contoso": "contoso"}},
        {
            "error": {
                "code": "RequestDisallowedByPolicy",
                "message": "Resource 'x' was disallowed by policy 'Contoso only'.",
            }
        },
        {"claims": {"name": "Contoso", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "a@contoso.com"}},
        {f"{SUBSCRIPTION}/resourceGroups/contoso-x/providers/A.B/cs/contoso-y": {"clientId": "1"}},
        {"id": f"{SUBSCRIPTION}/resourceGroups/contoso/providers/A.B/cs/contoso"},
        {"administratorLogin": "contoso"},
    ],
)
def test_what_a_company_chose_is_replaced(document: Any) -> None:
    assert "contoso" not in str(replaced(document)).lower()


@pytest.mark.parametrize(
    "key",
    [
        "administratorLoginPassword",
        "primaryKey",
        "secondaryKey",
        "access_token",
        "refresh_token",
        "secretText",
        "keyData",
        "uploadUrl",
        "logLink",
    ],
)
def test_the_values_of_secret_properties_are_masked(key: str) -> None:
    assert replaced({"outer": [{key: "short"}]}) == {"outer": [{key: "(secret)"}]}


def test_switches_and_errors_stay() -> None:
    document = {"enableSecretRotation": "true", "error": {"code": "NameNotAvailable"}, "mode": "System", "count": 3}
    assert replaced(document) == document


def test_signatures_in_urls_are_masked_and_filters_keep_their_form() -> None:
    pseudonyms = Pseudonyms(["airflow-dev-admins"], "westeurope")
    url = "https://x1.blob.core.windows.net/logs/run.txt?sv=2024&sig=abc%3D"
    assert pseudonyms.url(url) == "https://name0001.blob.core.windows.net/logs/run.txt?sv=(secret)&sig=(secret)"
    filtered = pseudonyms.url("https://graph.microsoft.com/v1.0/groups?$filter=displayName eq 'airflow-dev-admins'")
    assert filtered == "https://graph.microsoft.com/v1.0/groups?$filter=displayName%20eq%20%27name0002%27"


def test_the_location_stays_wherever_it_is() -> None:
    document = {"message": "not in 'westeurope'", "location": "westeurope"}
    assert replaced(document) == document


def test_a_link_to_the_next_page_keeps_its_filter_and_no_token() -> None:
    link = "https://management.azure.com/skus?api-version=2021-07-01&%24filter=a+eq+1&%24skiptoken=contoso"
    masked = "https://management.azure.com/skus?api-version=2021-07-01&$filter=a%20eq%201&$skiptoken=(secret)"
    assert replaced({"nextLink": link}) == {"nextLink": masked}


def test_a_word_is_replaced_in_ids_alone() -> None:
    document = {
        "id": f"{SUBSCRIPTION}/resourceGroups/system",
        "name": "system",
        "mode": "System",
        "message": "the system",
    }
    assert replaced(document) == {
        "id": f"/subscriptions/{GUID.format(1)}/resourceGroups/name0001",
        "name": "name0001",
        "mode": "System",
        "message": "the system",
    }
