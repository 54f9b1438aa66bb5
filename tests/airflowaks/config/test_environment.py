"""Environments: files that ship, defaults, every rule's sentence, and where files are found."""

import ipaddress
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflowaks.config.backend_schema import ExistingCache, ManagedRedis
from airflowaks.config.environment import Environment, load_environment
from airflowaks.config.schema import NodePool
from airflowaks.errors import InvalidEnvironment
from tests.support.repository import REPOSITORY

SHIPPED = REPOSITORY / "manifests" / "environments"
SUBSCRIPTION = "33333333-3333-4333-8333-333333333333"
TENANT = "44444444-4444-4444-8444-444444444444"
REQUIRED = f"subscription_id: {SUBSCRIPTION}\ntenant_id: {TENANT}\nlocation: westeurope\n"
PLACEHOLDER = "00000000-0000-0000-0000-000000000000"


def load(tmp_path: Path, text: str, name: str = "test") -> Environment:
    (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_environment(name, tmp_path)


def refusals(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(InvalidEnvironment) as refusal:
        load(tmp_path, text)
    first, *problems = refusal.value.message.splitlines()
    assert first.startswith(f"test.yaml breaks {len(problems)} rule")
    return [problem.strip() for problem in problems]


def test_an_images_tag_is_what_stands_before_its_digest(tmp_path: Path) -> None:
    pinned = f"registry: {{source: 'docker.io/apache/airflow:3.3.2@sha256:{'0' * 64}'}}"
    assert load(tmp_path, REQUIRED + pinned).registry.tag == "3.3.2"


def test_problems_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    fragments = "location: mars\nkey_vault: {name: a}\npostgresql: {storage_gb: 1}\nclutser: {}\n"
    required = f"subscription_id: {SUBSCRIPTION}\ntenant_id: {TENANT}\n"
    lines = [problem.split(":")[0] for problem in refusals(tmp_path, required + fragments)]
    assert lines == [
        "location (line 3)",
        "key_vault.name (line 4)",
        "postgresql.storage_gb (line 5)",
        "clutser (line 6)",
    ]


def test_a_password_in_a_proxy_is_told_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load(tmp_path, REQUIRED + "proxy: http://me:hunter2@proxy.example.com:3128\nproxxy: http://me:hunter2@x:1\n")
    chain = (refusal.value, refusal.value.__cause__, refusal.value.__context__)
    assert not any("hunter2" in repr(error) + str(error) for error in chain)


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_shipped_examples_ask_for_the_two_ids_and_nothing_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load_environment(name, SHIPPED)
    first, *problems = refusal.value.message.splitlines()
    assert first == f"{name}.yaml breaks 2 rules; nothing was created."
    assert problems[0].endswith("enter your subscription ID: az account show --query id")
    assert problems[1].endswith("enter your tenant ID: az account show --query tenantId")
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    filled = text.replace(PLACEHOLDER, SUBSCRIPTION, 1).replace(PLACEHOLDER, TENANT, 1)
    environment = load(tmp_path, filled, name)
    assert (environment.subscription_id, environment.tenant_id) == (SUBSCRIPTION, TENANT)
    assert not environment.is_local


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_what_shipped_examples_show_in_comments_is_right_too(tmp_path: Path, name: str) -> None:
    (tmp_path / "company-root.pem").touch()
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    text = text.replace(PLACEHOLDER, SUBSCRIPTION, 1).replace(PLACEHOLDER, TENANT, 1)
    for key in ("proxy", "ca_bundle", "  firewall", "    office"):
        indent = " " * (len(key) - len(key.lstrip()))
        shown = f"# {key.lstrip()}:" if not indent else f"  # {indent[2:]}{key.lstrip()}:"
        text = text.replace(shown, f"{key}:")
    text = text.replace("/etc/ssl/certs/company-root.pem", "company-root.pem")
    environment = load(tmp_path, text, name)
    assert environment.proxy == "http://proxy.example.com:3128"
    assert environment.ca_bundle == tmp_path.resolve() / "company-root.pem"
    assert name == "prod" or environment.postgresql.firewall["office"].end == "203.0.113.20"


def test_local_is_the_rehearsal() -> None:
    environment = load_environment("local", SHIPPED)
    assert environment.is_local
    assert environment.subscription_id == "11111111-1111-4111-8111-111111111111"
    assert environment.tenant_id == "22222222-2222-4222-8222-222222222222"
    assert environment.location == "westeurope"
    assert (environment.access, environment.postgresql.firewall) == ("through_cluster", {})


def test_three_keys_are_enough(tmp_path: Path) -> None:
    environment = load(tmp_path, REQUIRED)
    assert environment.resource_group == "airflow-test"
    assert environment.tags == {"environment": "test", "managed-by": "airflowaks"}
    assert environment.entra.admin_group == "airflow-test-admins"
    assert environment.cluster.name == "airflow-test"
    assert environment.registry.tag == "3.3.2"
    assert environment.postgresql.tier == "GeneralPurpose"
    assert isinstance(environment.broker, ManagedRedis)
    suffix = environment.key_vault.name.rpartition("-")[2]
    assert environment.registry.name == f"airflowtestacr{suffix}"
    assert environment.postgresql.name == f"airflow-test-pg-{suffix}"
    assert environment.broker.name == f"airflow-test-redis-{suffix}"


def test_names_can_be_chosen_and_blank_keys_mean_the_default(tmp_path: Path) -> None:
    chosen = load(tmp_path, REQUIRED + "key_vault: {name: my-vault}\npostgresql:\nregistry: {name: , sku: }\nproxy:\n")
    default = load(tmp_path, REQUIRED)
    assert chosen.key_vault.name == "my-vault"
    assert chosen.model_copy(update={"key_vault": default.key_vault}) == default


def test_values_are_brought_to_the_form_that_azure_uses(tmp_path: Path) -> None:
    environment = load(
        tmp_path,
        f"subscription_id: {SUBSCRIPTION}\ntenant_id: ABCDEF00-0000-4000-8000-00000000000A\nlocation: East US\n"
        "postgresql: {version: 16}\ncluster: {kubernetes_version: '1.34.2', authorized_ip_ranges: [203.0.113.7]}\n",
    )
    assert environment.tenant_id == "abcdef00-0000-4000-8000-00000000000a"
    assert environment.location == "eastus"
    assert environment.postgresql.version == "16"
    assert environment.cluster.kubernetes_version == "1.34.2"
    assert environment.cluster.authorized_ip_ranges == ("203.0.113.7/32",)
    assert environment.cluster.node_pool.zones == ("1", "2", "3")


def test_an_existing_cache_as_broker(tmp_path: Path) -> None:
    environment = load(tmp_path, REQUIRED + "broker: {kind: existing_cache, resource_group: shared, name: cache}")
    assert environment.broker == ExistingCache(resource_group="shared", name="cache")


def test_what_was_read_does_not_change(tmp_path: Path) -> None:
    environment = load(tmp_path, REQUIRED)
    with pytest.raises(ValidationError, match="frozen"):
        environment.cluster.node_pool.max_count = 50


def test_the_fingerprint_follows_what_is_deployed_not_how_it_is_reached(tmp_path: Path) -> None:
    plain = load(tmp_path, REQUIRED).fingerprint
    assert plain == load(tmp_path, "# a comment\n" + REQUIRED + 'postgresql: {version: "17"}').fingerprint
    assert plain == load(tmp_path, REQUIRED + "proxy: http://proxy.example.com:3128").fingerprint
    assert plain != load(tmp_path, REQUIRED + "postgresql: {storage_gb: 128}").fingerprint
    assert len(plain) == 12


def test_an_environment_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load_environment("prd", SHIPPED)
    assert refusal.value.message == f'There is no environment "prd" in {SHIPPED}; it has dev, local, prod.'
    assert refusal.value.action == 'Did you mean "prod"?'
    with pytest.raises(InvalidEnvironment, match="it has no environments") as refusal:
        load_environment("../secret", tmp_path)
    assert "../secret" in refusal.value.message


def test_a_file_name_that_cannot_name_an_environment(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment, match='"Test 1" is not a valid name for an environment: use lower-case'):
        load(tmp_path, REQUIRED, "Test 1")


@pytest.mark.parametrize("folder", ["", "notebooks", "notebooks/deeper"])
def test_files_are_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    environments = tmp_path / "manifests" / "environments"
    environments.mkdir(parents=True)
    load(environments, REQUIRED, "here")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / folder)
    assert load_environment("here").name == "here"


def test_files_are_found_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_environment("local").is_local


def test_without_a_checkout_there_is_nothing_to_load(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED.parent.parent / "airflowaks", tmp_path / "airflowaks")
    program = "import airflowaks.config.environment as e; e.load_environment('local')"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"There is no folder {Path('manifests', 'environments')} in {tmp_path}" in ran.stderr


@settings(deadline=None)  # the first example pays for building the model
@given(
    pods=st.ip_addresses(v=4), pod_prefix=st.integers(8, 24), services=st.ip_addresses(v=4), prefix=st.integers(8, 30)
)
@example(ipaddress.IPv4Address("10.244.0.0"), 16, ipaddress.IPv4Address("10.244.128.0"), 20)
@example(ipaddress.IPv4Address("10.244.128.0"), 20, ipaddress.IPv4Address("10.244.0.0"), 16)
@example(ipaddress.IPv4Address("10.244.0.0"), 16, ipaddress.IPv4Address("10.245.0.0"), 28)
@example(ipaddress.IPv4Address("10.244.0.0"), 16, ipaddress.IPv4Address("10.239.255.0"), 24)
def test_networks_are_accepted_just_when_no_rule_is_broken(
    pods: ipaddress.IPv4Address, pod_prefix: int, services: ipaddress.IPv4Address, prefix: int
) -> None:
    pod_network = ipaddress.IPv4Network((pods, pod_prefix), strict=False)
    service_network = ipaddress.IPv4Network((services, prefix), strict=False)
    reserved = ["169.254.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "192.0.2.0/24", "10.224.0.0/12"]
    reserved += ["0.0.0.0/8", "127.0.0.0/8", "168.63.129.16/32", "224.0.0.0/4", "240.0.0.0/4"]
    right = (
        pod_prefix <= 21  # five nodes, the default's upper bound, at a /24 each
        and 12 <= prefix <= 28
        and not pod_network.overlaps(service_network)
        and not any(
            network.overlaps(ipaddress.IPv4Network(taken))
            for network in (pod_network, service_network)
            for taken in reserved
        )
    )
    network = {"pod_cidr": str(pod_network), "service_cidr": str(service_network)}
    given = {"name": "test", "subscription_id": SUBSCRIPTION, "tenant_id": TENANT, "location": "westeurope"}
    try:
        environment = Environment.model_validate({**given, "cluster": {"network": network}})
    except ValidationError:
        assert not right
    else:
        assert right
        assert ipaddress.IPv4Address(environment.cluster.network.dns_service_ip) in service_network


@pytest.mark.parametrize(
    "size", ["Standard_D4ds_v5", "Standard_E4-2ds_v5", "Standard_DS3_v2", "Standard_NC24ads_A100_v4", "Standard_L8s"]
)
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper, str.swapcase])
def test_the_case_of_a_vm_size_does_not_matter(size: str, spelled: Callable[[str], str]) -> None:
    assert NodePool(vm_size=spelled(size), os_disk="Managed").vm_size == size


def test_importing_costs_pydantic_and_nothing_else() -> None:
    listing = "import sys, airflowaks.config.environment; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True).stdout.split()
    assert "pydantic" in loaded
    assert not {"yaml", "azure", "rich", "requests"} & set(loaded)
