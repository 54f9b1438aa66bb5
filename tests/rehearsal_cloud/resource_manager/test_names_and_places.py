"""What Resource Manager refuses for every provider: places, parents, versions, bodies, names."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_scope

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

VERSION = "?api-version=2024-11-30"
WEST = {"location": "westeurope"}


@pytest.fixture
def identities(rehearsal: Rehearsal, group: str) -> str:
    return (
        f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities"
    )


def refusal(send: Sender, method: str, url: str, body: object = None) -> tuple[int, str]:
    answer = send(method, url, body)
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("version", ["", "?api-version=", "?api-version=latest", "?api-version=2024"])
def test_an_api_version_is_needed(send: Sender, identities: str, version: str) -> None:
    assert refusal(send, "GET", f"{identities}/one{version}") == (400, "MissingApiVersionParameter")


def test_what_is_not_there_is_not_found(send: Sender, identities: str) -> None:
    answer = send("GET", f"{identities}/one{VERSION}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceNotFound")
    assert "'Microsoft.ManagedIdentity/userAssignedIdentities/one'" in answer.json()["error"]["message"]


def test_a_group_is_needed(send: Sender, identities: str, group: str, resources: ResourceManagementClient) -> None:
    assert resources
    elsewhere = identities.replace(group, f"{group}-not-there")
    for method, body in (("GET", None), ("PUT", WEST)):
        assert refusal(send, method, f"{elsewhere}/one{VERSION}", body) == (404, "ResourceGroupNotFound")


def test_a_location_is_needed(send: Sender, identities: str) -> None:
    assert refusal(send, "PUT", f"{identities}/one{VERSION}", {}) == (400, "LocationRequired")


def test_a_resource_stays_where_it_is(send: Sender, identities: str) -> None:
    send("PUT", f"{identities}/one{VERSION}", WEST)
    again = refusal(send, "PUT", f"{identities}/one{VERSION}", {"location": "northeurope"})
    assert again == (409, "InvalidResourceLocation")
    assert send("PUT", f"{identities}/one{VERSION}", {"location": "West Europe"}).status_code == 200


@pytest.mark.parametrize("name", ["no", "_one", "a" * 129, "dot.dot"])
def test_a_name_that_breaks_the_rule_is_refused(send: Sender, identities: str, name: str) -> None:
    assert refusal(send, "PUT", f"{identities}/{name}{VERSION}", WEST) == (400, "InvalidResourceName")


def test_a_child_needs_its_parent(send: Sender, identities: str) -> None:
    child = f"{identities}/one/federatedIdentityCredentials/two{VERSION}"
    body = {"properties": {"issuer": "https://a.example", "subject": "b", "audiences": ["c"]}}
    assert refusal(send, "PUT", child, body) == (404, "ParentResourceNotFound")
    listing = refusal(send, "GET", f"{identities}/one/federatedIdentityCredentials{VERSION}")
    assert listing == (404, "ResourceNotFound")
    send("PUT", f"{identities}/one{VERSION}", WEST)
    assert send("PUT", child, body).status_code == 201
    assert send("DELETE", f"{identities}/one{VERSION}").status_code == 200
    send("PUT", f"{identities}/one{VERSION}", WEST)
    assert send("GET", child).status_code == 404


def test_what_is_required_must_be_there(send: Sender, identities: str) -> None:
    send("PUT", f"{identities}/one{VERSION}", WEST)
    child = f"{identities}/one/federatedIdentityCredentials/two{VERSION}"
    answer = send("PUT", child, {"properties": {"issuer": "https://a.example", "subject": "b"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidParameter")
    assert "properties.audiences" in answer.json()["error"]["message"]


def test_paths_are_the_same_in_any_case(send: Sender, identities: str) -> None:
    made = send("PUT", f"{identities}/One{VERSION}", WEST).json()
    assert made["name"] == "One"
    loud = identities.replace("/resourceGroups/", "/RESOURCEGROUPS/").replace("userAssigned", "USERASSIGNED")
    assert send("GET", f"{loud}/ONE{VERSION}").json()["id"] == made["id"]
    assert [one["name"] for one in send("GET", f"{identities}{VERSION}").json()["value"]] == ["One"]


def test_lists_of_one_group_leave_out_its_namesakes(send: Sender, identities: str, group: str) -> None:
    other = identities.replace(group, f"{group}-2")
    send("PUT", f"{other.partition('/providers/')[0]}?api-version=2025-04-01", WEST)
    send("PUT", f"{other}/one{VERSION}", WEST)
    assert send("GET", f"{identities}{VERSION}").json()["value"] == []


def test_children_of_one_parent_leave_out_its_namesakes(send: Sender, identities: str) -> None:
    body = {"properties": {"issuer": "https://a.example", "subject": "b", "audiences": ["c"]}}
    for name in ("one", "one-2"):
        send("PUT", f"{identities}/{name}{VERSION}", WEST)
    send("PUT", f"{identities}/one-2/federatedIdentityCredentials/two{VERSION}", body)
    assert send("GET", f"{identities}/one/federatedIdentityCredentials{VERSION}").json()["value"] == []


def test_a_deleted_resource_is_gone_and_deleting_it_again_is_no_error(send: Sender, identities: str) -> None:
    send("PUT", f"{identities}/one{VERSION}", WEST)
    assert [send("DELETE", f"{identities}/one{VERSION}").status_code for _ in range(2)] == [200, 204]
    assert send("GET", f"{identities}/one{VERSION}").status_code == 404


@pytest.mark.parametrize("content", ["[]", '"text"', "17"])
def test_a_body_is_a_json_object(send: Sender, identities: str, content: str) -> None:
    assert refusal(send, "PUT", f"{identities}/one{VERSION}", json.loads(content)) == (400, "InvalidRequestContent")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "Microsoft.Nothing/things/one", 404, "InvalidResourceNamespace"),
        ("PUT", "Microsoft.ManagedIdentity/things/one", 404, "InvalidResourceType"),
        ("GET", "Microsoft.ManagedIdentity/things", 404, "InvalidResourceType"),
        ("POST", "Microsoft.ManagedIdentity/userAssignedIdentities/one/explode", 404, "NotFound"),
    ],
)
def test_what_nobody_provides_is_refused(
    send: Sender, identities: str, method: str, path: str, status: int, code: str
) -> None:
    base = identities.partition("/providers/")[0]
    assert refusal(send, method, f"{base}/providers/{path}{VERSION}", WEST) == (status, code)


def test_a_path_that_is_none_is_not_found(send: Sender, rehearsal: Rehearsal) -> None:
    assert refusal(send, "GET", f"/subscriptions/{rehearsal.subscription}/nothing/at/all{VERSION}") == (404, "NotFound")


def test_an_operation_that_is_not_there_is_not_found(send: Sender, rehearsal: Rehearsal) -> None:
    base = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.KeyVault/locations/westeurope"
    for kind in ("operationStatuses", "operationResults"):
        assert refusal(send, "GET", f"{base}/{kind}/none{VERSION}") == (404, "NotFound")


def test_the_request_log_names_the_correlation(send: Sender, rehearsal: Rehearsal, identities: str) -> None:
    correlation = f"look-for-{time.time_ns()}"
    answer = send("GET", f"{identities}/one{VERSION}", headers={"x-ms-correlation-request-id": correlation})
    assert answer.headers["x-ms-correlation-request-id"] == correlation
    assert answer.headers["x-ms-request-id"]
    # A cluster's API, which is not Azure's, has no such header.
    (entry,) = [one for one in rehearsal.requests() if one.get("correlation") == correlation]
    assert (entry["method"], entry["status"], entry["host"]) == ("GET", 404, "management.azure.com")


def test_the_log_names_the_principal(send: Sender, rehearsal: Rehearsal, identities: str, newcomer: Newcomer) -> None:
    send("GET", f"{identities}/one{VERSION}", credential=newcomer.credential)
    assert newcomer.object_id in {one["principal"] for one in rehearsal.requests()}


@pytest.mark.parametrize(
    ("path", "full_type", "is_instance", "group"),
    [
        ("/subscriptions/s/resourceGroups/g/providers/A.B/c/d", "A.B/c", True, "g"),
        ("/subscriptions/s/resourcegroups/g/providers/A.B/c/d/e/f", "A.B/c/e", True, "g"),
        ("/subscriptions/s/providers/A.B/c", "A.B/c", False, ""),
        ("/subscriptions/s/resourceGroups/g/providers/A.B/c/d/providers/E.F/g/h", "E.F/g", True, "g"),
        ("/providers/A.B/c/d", "A.B/c", True, ""),
    ],
)
def test_resource_ids(path: str, full_type: str, *, is_instance: bool, group: str) -> None:
    parsed = ResourceId.parse(path)
    assert parsed is not None
    assert (parsed.full_type, parsed.is_instance, parsed.group) == (full_type, is_instance, group)
    assert parsed.key == path.lower()


@pytest.mark.parametrize("path", ["/", "/subscriptions/s", "/subscriptions/s/resourceGroups/g/providers/A.B"])
def test_what_names_no_resource(path: str) -> None:
    assert ResourceId.parse(path) is None


def test_a_scope_is_spelled_in_one_way() -> None:
    assert canonical_scope("/SUBSCRIPTIONS/s/resourcegroups/G/") == "/subscriptions/s/resourceGroups/G"
