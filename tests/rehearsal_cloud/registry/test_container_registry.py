"""Container registries, through azure-mgmt-containerregistry, and what they hold, through azure-containerregistry."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from azure.containerregistry import ContainerRegistryClient
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.mgmt.containerregistry import ContainerRegistryManagementClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse
    from azure.mgmt.containerregistry.models import Registry
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Grant, Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

AIRFLOW = "apache/airflow"


@pytest.fixture(scope="module")
def acr(
    rehearsal: Rehearsal, operator: TokenCredential, resources: ResourceManagementClient
) -> Iterator[ContainerRegistryManagementClient]:
    resources.providers.register("Microsoft.ContainerRegistry")
    with ContainerRegistryManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"acr{uuid.uuid4().hex[:10]}"


def wanted(**properties: Any) -> Any:
    return {"location": "westeurope", "sku": {"name": "Standard"}, "properties": properties}


@pytest.fixture
def registry(acr: ContainerRegistryManagementClient, group: str, name: str) -> Registry:
    return acr.registries.begin_create(group, name, wanted()).result()


def source(tag: str = "3.0.2", **changes: Any) -> Any:
    asked = {"source": {"registryUri": "docker.io", "sourceImage": f"{AIRFLOW}:{tag}"}, "mode": "NoForce"}
    return {**asked, **changes}


@pytest.fixture
def stocked(acr: ContainerRegistryManagementClient, group: str, registry: Registry) -> Registry:
    """A registry with two images of Airflow."""
    for tag in ("3.0.2", "2.11.0-python3.11"):
        acr.registries.begin_import_image(group, registry.name, source(tag)).result()
    return registry


@pytest.fixture(scope="module")
def shelf(acr: ContainerRegistryManagementClient, resources: ResourceManagementClient) -> Registry:
    """A registry with the same two images, for the tests that only read."""
    resources.resource_groups.create_or_update("shelf", {"location": "westeurope"})
    made = acr.registries.begin_create("shelf", f"shelf{uuid.uuid4().hex[:10]}", wanted()).result()
    for tag in ("3.0.2", "2.11.0-python3.11"):
        acr.registries.begin_import_image("shelf", made.name, source(tag)).result()
    return made


@pytest.fixture
def connect(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[Callable[..., ContainerRegistryClient]]:
    opened: list[ContainerRegistryClient] = []

    def client(
        registry: Registry, credential: TokenCredential | None = None, **options: Any
    ) -> ContainerRegistryClient:
        transport = {key: rehearsal.transport[key] for key in ("proxies", "connection_verify")}
        endpoint = f"https://{registry.properties.login_server}"
        opened.append(ContainerRegistryClient(endpoint, credential or operator, **transport, **options))
        return opened[-1]

    yield client
    for one in opened:
        one.close()


# The resource


def test_a_registry_is_made_with_acrs_defaults(
    registry: Registry, acr: ContainerRegistryManagementClient, group: str
) -> None:
    assert registry.properties.provisioning_state == "Succeeded"
    assert registry.properties.login_server == f"{registry.name}.azurecr.io"
    assert registry.properties.admin_user_enabled is False
    assert registry.properties.policies.export_policy.status == "enabled"
    assert registry.sku.tier == "Standard"
    assert [one.name for one in acr.registries.list_by_resource_group(group)] == [registry.name]
    assert registry.name in [one.name for one in acr.registries.list()]


def test_what_acr_does_not_know_survives_get_and_put(registry: Registry, send: Sender) -> None:
    path = f"{registry.id}?api-version=2025-11-01"
    body = send("GET", path).json()
    body["properties"]["futurePolicy"] = {"enabled": True}
    changed = send("PUT", path, body)
    assert changed.status_code == 200
    assert changed.json()["properties"] == send("GET", path).json()["properties"] == body["properties"]


def test_a_patch_changes_what_it_names(registry: Registry, acr: ContainerRegistryManagementClient, group: str) -> None:
    patch: Any = {"sku": {"name": "Premium"}, "tags": {"team": "data"}}
    changed = acr.registries.begin_update(group, registry.name, patch).result()
    assert (changed.sku.tier, changed.tags) == ("Premium", {"team": "data"})
    assert changed.properties.creation_date == registry.properties.creation_date


@pytest.mark.parametrize("bad", ["acr", "with-hyphen", "a" * 51])
def test_a_name_that_breaks_the_rule_is_refused(acr: ContainerRegistryManagementClient, group: str, bad: str) -> None:
    with pytest.raises(HttpResponseError, match="5 to 50 alphanumeric") as refused:
        acr.registries.begin_create(group, bad, wanted())
    assert refused.value.status_code == 400
    answer = acr.registries.check_name_availability({"name": bad, "type": "Microsoft.ContainerRegistry/registries"})
    assert (answer.name_available, answer.reason) == (False, "Invalid")


def test_a_name_is_taken_in_all_groups_until_its_registry_goes(
    stocked: Registry, acr: ContainerRegistryManagementClient, resources: ResourceManagementClient, group: str
) -> None:
    check: Any = {"name": stocked.name.upper(), "type": "Microsoft.ContainerRegistry/registries"}
    assert acr.registries.check_name_availability(check).reason == "AlreadyExists"
    resources.resource_groups.create_or_update(f"{group}-other", {"location": "westeurope"})
    with pytest.raises(ResourceExistsError, match=f"DNS name {stocked.name}.azurecr.io is already in use") as refused:
        acr.registries.begin_create(f"{group}-other", stocked.name, wanted())
    assert refused.value.error.code == "AlreadyInUse"
    acr.registries.begin_delete(group, stocked.name).result()
    assert acr.registries.check_name_availability(check).name_available
    acr.registries.begin_create(f"{group}-other", stocked.name, wanted()).result()


@pytest.mark.parametrize(("sku", "text"), [({"name": "Gold"}, "SKU 'Gold' is invalid"), ({}, "sku.name is missing")])
def test_a_wrong_sku_is_refused(
    acr: ContainerRegistryManagementClient, group: str, name: str, sku: Any, text: str
) -> None:
    with pytest.raises(HttpResponseError, match=text):
        acr.registries.begin_create(group, name, {**wanted(), "sku": sku})


def test_usages_count_what_is_there(stocked: Registry, acr: ContainerRegistryManagementClient, group: str) -> None:
    usages = {one.name: one for one in acr.registries.list_usages(group, stocked.name).value}
    assert usages["Size"].limit == 100 * 1024**3
    assert usages["Size"].current_value > 0


# Import


def test_an_import_is_polled_and_names_its_tag(
    registry: Registry, acr: ContainerRegistryManagementClient, group: str, connect: Any, send: Sender
) -> None:
    accepted = send("POST", f"{registry.id}/importImage?api-version=2025-11-01", source())
    assert (accepted.status_code, accepted.content) == (202, b"")
    assert "/operationResults/" in accepted.headers["Location"]
    acr.registries.begin_import_image(
        group, registry.name, source("2.10.5", targetTags=["airflow:old", "airflow:older"])
    ).result()
    client = connect(registry)
    assert client.get_tag_properties("airflow", "old").digest == client.get_tag_properties("airflow", "older").digest
    acr.registries.begin_import_image(
        group, registry.name, source("2.10.4", untaggedTargetRepositories=["bare"])
    ).result()
    (bare,) = client.list_manifest_properties("bare")
    assert not bare.tags


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("library/hello-world", "registry.hub.docker.com"),
        (f"{AIRFLOW}:latest", "docker.io"),
        (f"{AIRFLOW}:1.10.15", "docker.io"),
        (f"{AIRFLOW}:3.0.2", "mcr.microsoft.com"),
    ],
)
def test_an_image_that_is_not_there_fails_its_import(
    registry: Registry, acr: ContainerRegistryManagementClient, group: str, connect: Any, image: str, host: str
) -> None:
    body = source(source={"registryUri": host, "sourceImage": image})
    with pytest.raises(HttpResponseError, match="MANIFEST_UNKNOWN"):
        acr.registries.begin_import_image(group, registry.name, body).result()
    assert list(connect(registry).list_repository_names()) == []


def test_an_image_is_imported_by_its_digest_and_no_other(
    registry: Registry, acr: ContainerRegistryManagementClient, group: str, connect: Any
) -> None:
    acr.registries.begin_import_image(group, registry.name, source("3.3.2", targetTags=["airflow:by-tag"])).result()
    client = connect(registry)
    digest = client.get_tag_properties("airflow", "by-tag").digest
    body = source(
        source={"registryUri": "docker.io", "sourceImage": f"{AIRFLOW}@{digest}"}, targetTags=["airflow:by-digest"]
    )
    acr.registries.begin_import_image(group, registry.name, body).result()
    assert client.get_tag_properties("airflow", "by-digest").digest == digest
    body["source"]["sourceImage"] = f"{AIRFLOW}@sha256:{'0' * 64}"
    with pytest.raises(HttpResponseError, match="MANIFEST_UNKNOWN"):
        acr.registries.begin_import_image(group, registry.name, {**body, "mode": "Force"}).result()


def test_a_tag_is_overwritten_only_by_force(
    stocked: Registry, acr: ContainerRegistryManagementClient, group: str, connect: Any
) -> None:
    client = connect(stocked)
    before = client.get_tag_properties(AIRFLOW, "3.0.2")
    body = source("3.0.3", targetTags=[f"{AIRFLOW}:3.0.2"])
    with pytest.raises(ResourceExistsError, match=r"Tag apache/airflow:3\.0\.2 already exists in target registry"):
        acr.registries.begin_import_image(group, stocked.name, body)
    assert client.get_tag_properties(AIRFLOW, "3.0.2").digest == before.digest
    acr.registries.begin_import_image(group, stocked.name, {**body, "mode": "Force"}).result()
    after = client.get_tag_properties(AIRFLOW, "3.0.2")
    assert after.digest != before.digest
    assert after.created_on == before.created_on < after.last_updated_on


def test_an_image_moves_between_registries(
    stocked: Registry, acr: ContainerRegistryManagementClient, group: str, name: str, connect: Any
) -> None:
    target = acr.registries.begin_create(group, f"{name}2", wanted()).result()
    digest = connect(stocked).get_tag_properties(AIRFLOW, "3.0.2").digest
    for image, tag in ((f"{AIRFLOW}:3.0.2", "by-tag"), (f"{AIRFLOW}@{digest}", "by-digest")):
        body = {"source": {"resourceId": stocked.id, "sourceImage": image}, "targetTags": [f"airflow:{tag}"]}
        acr.registries.begin_import_image(group, target.name, body).result()
        assert connect(target).get_tag_properties("airflow", tag).digest == digest


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"registryUri": "docker.io"}, "Source image is missing"),
        ({"sourceImage": f"{AIRFLOW}:3.0.2"}, "Exactly one of registryUri and resourceId"),
        ({"sourceImage": f"{AIRFLOW}:3.0.2", "resourceId": "/nowhere"}, "source registry '/nowhere' is not found"),
    ],
)
def test_an_import_that_names_no_source_is_refused(
    registry: Registry, acr: ContainerRegistryManagementClient, group: str, asked: Any, text: str
) -> None:
    with pytest.raises(HttpResponseError, match=text) as refused:
        acr.registries.begin_import_image(group, registry.name, {"source": asked})
    assert refused.value.status_code == 400


# What a registry holds


def test_tags_and_manifests_are_listed(shelf: Registry, connect: Any) -> None:
    client = connect(shelf)
    assert list(client.list_repository_names()) == [AIRFLOW]
    assert [one.name for one in client.list_tag_properties(AIRFLOW)] == ["2.11.0-python3.11", "3.0.2"]
    newest_first = client.list_tag_properties(AIRFLOW, order_by="timedesc", results_per_page=1)
    assert [one.name for one in newest_first] == ["2.11.0-python3.11", "3.0.2"]
    oldest_first = client.list_tag_properties(AIRFLOW, order_by="timeasc", results_per_page=1)
    assert [one.name for one in oldest_first] == ["3.0.2", "2.11.0-python3.11"]
    tag = client.get_tag_properties(AIRFLOW, "3.0.2")
    manifest = client.get_manifest_properties(AIRFLOW, "3.0.2")
    assert manifest.digest == tag.digest
    assert (manifest.architecture, manifest.operating_system, manifest.tags) == ("amd64", "linux", ["3.0.2"])
    assert {one.digest for one in client.list_manifest_properties(AIRFLOW)} > {tag.digest}
    repository = client.get_repository_properties(AIRFLOW)
    assert (repository.manifest_count, repository.tag_count) == (2, 2)


@pytest.mark.parametrize(("tag", "python"), [("3.0.2", "3.12"), ("2.11.0-python3.11", "3.11")])
def test_an_image_is_true_to_the_oci_format(shelf: Registry, connect: Any, tag: str, python: str) -> None:
    client = connect(shelf)
    found = client.get_manifest(AIRFLOW, tag)  # the client itself compares the digest with the content
    assert found.media_type.startswith("application/vnd.oci.image.manifest.v1+json")
    assert client.get_manifest(AIRFLOW, found.digest).manifest == found.manifest
    blobs = []
    for descriptor in (found.manifest["config"], *found.manifest["layers"]):
        content = b"".join(client.download_blob(AIRFLOW, descriptor["digest"]))
        assert len(content) == descriptor["size"]
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
        blobs.append(content)
    config = json.loads(blobs[0])
    version = tag.partition("-")[0]
    assert config["config"]["Labels"]["org.apache.airflow.version"] == version
    assert {f"AIRFLOW_VERSION={version}", f"PYTHON_VERSION={python}"} < set(config["config"]["Env"])
    with tarfile.open(fileobj=io.BytesIO(blobs[1]), mode="r:gz") as layer:
        assert layer.getnames() == []


def test_what_is_not_there_is_not_found(shelf: Registry, connect: Any) -> None:
    client = connect(shelf)
    with pytest.raises(ResourceNotFoundError, match="TAG_UNKNOWN"):
        client.get_tag_properties(AIRFLOW, "9.9.9")
    with pytest.raises(ResourceNotFoundError, match="MANIFEST_UNKNOWN"):
        client.get_manifest_properties(AIRFLOW, f"sha256:{'0' * 64}")
    with pytest.raises(ResourceNotFoundError, match="NAME_UNKNOWN"):
        client.get_repository_properties("nothing/here")


@pytest.mark.parametrize("reference", ["docker.io/library/python:3.13", "localhost:5000/airflow:3.1"])
def test_a_reference_in_place_of_a_tag_is_no_name(shelf: Registry, connect: Any, reference: str) -> None:
    client = connect(shelf)
    for ask in (client.get_tag_properties, client.get_manifest_properties):
        with pytest.raises(HttpResponseError, match="NAME_INVALID") as refused:
            ask(AIRFLOW, reference)
        assert refused.value.status_code == 400


def test_images_are_deleted(stocked: Registry, connect: Any) -> None:
    client = connect(stocked)
    digest = client.get_tag_properties(AIRFLOW, "3.0.2").digest
    client.delete_tag(AIRFLOW, "3.0.2")
    client.delete_tag(AIRFLOW, "3.0.2")
    assert client.get_manifest(AIRFLOW, digest).digest == digest
    client.delete_manifest(AIRFLOW, digest)
    with pytest.raises(ResourceNotFoundError, match="MANIFEST_UNKNOWN"):
        client.get_manifest_properties(AIRFLOW, digest)
    client.delete_manifest(AIRFLOW, "2.11.0-python3.11")
    assert list(client.list_repository_names()) == []


def test_a_repository_is_deleted_whole(stocked: Registry, connect: Any) -> None:
    connect(stocked).delete_repository(AIRFLOW)
    assert list(connect(stocked).list_repository_names()) == []


def test_a_registry_that_is_gone_has_no_address(
    stocked: Registry, acr: ContainerRegistryManagementClient, group: str, connect: Any
) -> None:
    acr.registries.begin_delete(group, stocked.name).result()
    with pytest.raises((ServiceRequestError, HttpResponseError)):
        connect(stocked, retry_total=0).get_tag_properties(AIRFLOW, "3.0.2")
    again = acr.registries.begin_create(group, stocked.name, wanted()).result()
    assert list(connect(again).list_repository_names()) == []


# Who may


def test_nobody_gets_in_without_a_token(shelf: Registry, send: Sender) -> None:
    host = shelf.properties.login_server
    answer = send("GET", f"https://{host}/v2/", scope="")
    realm = f'Bearer realm="https://{host}/oauth2/token",service="{host}"'
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, realm)
    answer = send("GET", f"https://{host}/v2/{AIRFLOW}/manifests/3.0.2", scope="")
    assert answer.headers["WWW-Authenticate"] == f'{realm},scope="repository:{AIRFLOW}:pull"'
    (error,) = answer.json()["errors"]
    assert error["code"] == "UNAUTHORIZED"
    assert error["message"].startswith("authentication required")


@pytest.mark.parametrize("role", ["AcrPull", "Reader", "Contributor"])
def test_pulling_takes_a_role(shelf: Registry, connect: Any, newcomer: Newcomer, grant: Grant, role: str) -> None:
    client = connect(shelf, newcomer.credential)
    with pytest.raises(ClientAuthenticationError, match="authentication required"):
        client.get_manifest_properties(AIRFLOW, "3.0.2")
    grant(shelf.id, role, newcomer.object_id)
    assert client.get_manifest(AIRFLOW, "3.0.2").digest == client.get_tag_properties(AIRFLOW, "3.0.2").digest


def test_pulling_is_not_deleting(shelf: Registry, connect: Any, newcomer: Newcomer, grant: Grant) -> None:
    grant(shelf.id, "AcrPull", newcomer.object_id)
    client = connect(shelf, newcomer.credential)
    with pytest.raises(ClientAuthenticationError, match="authentication required"):
        client.delete_tag(AIRFLOW, "3.0.2")
    assert client.get_tag_properties(AIRFLOW, "3.0.2")


def test_a_registry_in_abac_mode_asks_for_a_role_on_data(
    stocked: Registry,
    acr: ContainerRegistryManagementClient,
    group: str,
    connect: Any,
    newcomer: Newcomer,
    grant: Grant,
) -> None:
    stocked.properties.role_assignment_mode = "AbacRepositoryPermissions"
    acr.registries.begin_create(group, stocked.name, stocked).result()
    grant(stocked.id, "AcrPull", newcomer.object_id)
    client = connect(stocked, newcomer.credential)
    with pytest.raises(ClientAuthenticationError, match="authentication required"):
        client.get_manifest_properties(AIRFLOW, "3.0.2")
    grant(stocked.id, "Container Registry Repository Reader", newcomer.object_id)
    assert client.get_manifest(AIRFLOW, "3.0.2")


def test_an_import_takes_a_role_on_the_source(
    stocked: Registry,
    acr: ContainerRegistryManagementClient,
    group: str,
    name: str,
    newcomer: Newcomer,
    grant: Grant,
    send: Sender,
) -> None:
    target = acr.registries.begin_create(group, f"{name}2", wanted()).result()
    grant(target.id, "Contributor", newcomer.object_id)
    body = {"source": {"resourceId": stocked.id, "sourceImage": f"{AIRFLOW}:3.0.2"}}
    path = f"{target.id}/importImage?api-version=2025-11-01"
    assert send("POST", path, body, credential=newcomer.credential).status_code == 403
    grant(stocked.id, "AcrPull", newcomer.object_id)
    assert send("POST", path, body, credential=newcomer.credential).status_code == 202


def test_the_admin_user_gets_in_while_enabled(
    stocked: Registry, acr: ContainerRegistryManagementClient, group: str, send: Sender
) -> None:
    with pytest.raises(HttpResponseError, match="as admin user is disabled") as refused:
        acr.registries.list_credentials(group, stocked.name)
    assert (refused.value.status_code, refused.value.error.code) == (400, "UnAuthorizedForCredentialOperations")
    acr.registries.begin_update(group, stocked.name, {"properties": {"adminUserEnabled": True}}).result()
    found = acr.registries.list_credentials(group, stocked.name)
    assert found.username == stocked.name
    assert [one.name for one in found.passwords] == ["password", "password2"]
    admin = (found.username, found.passwords[1].value)
    assert docker(send, stocked, admin, "tags/list").json()["tags"] == ["2.11.0-python3.11", "3.0.2"]
    assert docker(send, stocked, (stocked.name, "wrong"), "tags/list").status_code == 401
    for missing, code in (("manifests/9.9.9", "MANIFEST_UNKNOWN"), (f"blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN")):
        answer = docker(send, stocked, admin, missing)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, code)
    renewed = acr.registries.regenerate_credential(group, stocked.name, {"name": "password2"})
    assert renewed.passwords[0].value == found.passwords[0].value
    assert docker(send, stocked, admin, "tags/list").status_code == 401
    admin = (found.username, renewed.passwords[1].value)
    assert docker(send, stocked, admin, "tags/list").status_code == 200
    acr.registries.begin_update(group, stocked.name, {"properties": {"adminUserEnabled": False}}).result()
    assert docker(send, stocked, admin, "tags/list").status_code == 401


def docker(send: Sender, registry: Registry, credential: Any, path: str, action: str = "pull") -> HttpResponse:
    """Ask for a token as `docker pull` does with a name and a password, and then for what is at `path`."""
    host = registry.properties.login_server
    basic = base64.b64encode(":".join(credential).encode()).decode()
    url = f"https://{host}/oauth2/token?service={host}&scope=repository:{AIRFLOW}:{action}"
    answer = send("GET", url, scope="", headers={"Authorization": f"Basic {basic}"})
    if answer.status_code != 200:
        return answer
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return send("GET", f"https://{host}/v2/{AIRFLOW}/{path}", scope="", headers=bearer)


def test_a_token_is_good_for_its_registry_and_scope_alone(
    stocked: Registry,
    acr: ContainerRegistryManagementClient,
    group: str,
    name: str,
    send: Sender,
) -> None:
    acr.registries.begin_update(group, stocked.name, {"properties": {"adminUserEnabled": True}}).result()
    found = acr.registries.list_credentials(group, stocked.name)
    admin = (found.username, found.passwords[0].value)
    other = acr.registries.begin_create(group, f"{name}2", wanted()).result()
    assert docker(send, other, admin, "tags/list").status_code == 401
    refused = docker(send, stocked, admin, "tags/list", action="delete")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")


def test_a_registry_that_is_closed_lets_nobody_in(
    acr: ContainerRegistryManagementClient,
    group: str,
    registry: Registry,
    rehearsal: Rehearsal,
    operator: TokenCredential,
) -> None:
    assert registry.name
    update: Any = {"properties": {"publicNetworkAccess": "Disabled"}}
    acr.registries.begin_update(group, registry.name, update).result()
    url = f"https://{registry.name}.azurecr.io"
    with (
        ContainerRegistryClient(
            url, operator, audience="https://management.azure.com", **rehearsal.transport
        ) as client,
        pytest.raises(HttpResponseError, match=r"client with IP '127\.0\.0\.1' is not allowed access") as refused,
    ):
        list(client.list_repository_names())
    assert refused.value.status_code == 403
