"""The manifests of steps 3 and 5 to 7: valid, hardened, and no container with a secret that it does not need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest

from airflowaks.azure.node_pools import DRAIN_MINUTES, LONGEST_TASK_SECONDS
from airflowaks.steps.cluster import SIGN_IN_ACCOUNT
from airflowaks.steps.pod_secrets import SecretProviderClass
from tests.support.step_manifests import documents, known, tunnel

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES = "1.35"
WITH_PODS = ("Deployment", "Job", "Pod")
CUSTOM = ("SecretProviderClass", "ScaledObject", "TriggerAuthentication")
SECRETS = {
    "migration": {"fernet-key", "sql-alchemy-conn", "admin-password"},
    "api-server": {"fernet-key", "api-secret-key", "jwt-secret", "sql-alchemy-conn", "sql-alchemy-conn-async"},
    "scheduler": {"fernet-key", "jwt-secret", "sql-alchemy-conn", "result-backend", "broker-url", "keda-connection"},
    "dag-processor": {"fernet-key", "sql-alchemy-conn"},
    "triggerer": {"fernet-key", "api-secret-key", "sql-alchemy-conn"},
    "worker": {"api-secret-key", "result-backend", "broker-url"},
}
RUN_CODE_OF_DAG_AUTHORS = {"dag-processor", "triggerer", "worker"}


@pytest.fixture(params=[False, True], ids=["not exposed", "exposed"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> list[Any]:
    """Every object that the steps make, in both kinds of environments."""
    return documents(tmp_path, exposed=request.param)


def pods(made: list[Any]) -> dict[str, Any]:
    """The pods by their component: metadata and spec."""
    found = [one if one["kind"] == "Pod" else one["spec"]["template"] for one in made if one["kind"] in WITH_PODS]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in found}


def test_each_is_valid_for_the_version_that_environments_default_to(made: list[Any]) -> None:
    checked = [one["kind"] for one in (*made, tunnel()) if one["kind"] not in CUSTOM and _validate(one)]
    assert {"Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "StorageClass"} <= set(checked)


def _validate(document: Any) -> bool:
    kubernetes_validate.validate(known(document), KUBERNETES, strict=True)
    return True


def test_nodes_wait_for_the_tasks_of_workers(made: list[Any]) -> None:
    graces = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for one in made
        if one["kind"] == "Deployment"
    }
    assert max(graces.values()) == graces["airflow-worker"] == LONGEST_TASK_SECONDS < DRAIN_MINUTES * 60
    (worker,) = (one for one in made if one["metadata"]["name"] == "airflow-worker" and one["kind"] == "Deployment")
    annotations = worker["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_no_pod_may_do_more_than_it_must(made: list[Any]) -> None:
    for pod in pods([*made, tunnel()]).values():
        spec, context = pod["spec"], pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (50000, 0, True)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert "@sha256:" in container["image"]


def test_each_component_mounts_the_secrets_that_it_needs_and_no_others(made: list[Any]) -> None:
    classes = {one.name: one for one in map(SecretProviderClass.of, _of_kind(made, "SecretProviderClass"))}
    for component, names in SECRETS.items():
        template = pods([one for one in made if one["kind"] != "Pod"])[component]
        (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == "secrets"]
        mounted = classes[volume["csi"]["volumeAttributes"]["secretProviderClass"]]
        assert {one.removeprefix("airflow-") for one in mounted.objects.values()} == names
        for container in template["spec"]["containers"]:
            taken = [one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one]
            # A synced Secret exists only while a pod mounts its class.
            assert set(taken) <= mounted.synced.keys()


def test_where_dag_authors_code_runs_is_no_token_of_the_identity_that_reads_the_vault(made: list[Any]) -> None:
    templates = pods([one for one in made if one["kind"] != "Pod"])
    labelled = {name for name, one in templates.items() if "azure.workload.identity/use" in one["metadata"]["labels"]}
    assert labelled == templates.keys() - RUN_CODE_OF_DAG_AUTHORS
    accounts = {name: one["spec"]["serviceAccountName"] for name, one in templates.items()}
    assert {name for name, one in accounts.items() if one == "airflow-dags"} == RUN_CODE_OF_DAG_AUTHORS


def test_only_the_web_pages_components_stand_in_for_the_application_that_people_sign_in_to(made: list[Any]) -> None:
    specs = {name: one["spec"] for name, one in pods([one for one in made if one["kind"] != "Pod"]).items()}
    web = {"api-server", "web"} & specs.keys()
    assert {name for name, one in specs.items() if one["serviceAccountName"] == SIGN_IN_ACCOUNT} == web
    configured = [name for name, one in specs.items() if "sign-in" in {each["name"] for each in one["volumes"]}]
    assert set(configured) == web
    for name in web:
        (container,) = specs[name]["containers"]
        # Without a limit an open page keeps the roles of a person who is in none of the groups any more.
        assert {"name": "AIRFLOW__FAB__SESSION_MAX_LIFETIME_MINUTES", "value": "480"} in container["env"]
    (config,) = (one["data"] for one in made if one["metadata"]["name"] == "airflow-sign-in")
    assert json.loads(config["sign-in.json"])["roles"] == {
        "the ID of airflow-dev-admins": ["Admin"],
        "the ID of airflow-dev-developers": ["Op"],
    }


def test_a_component_mounts_what_it_starts_with(tmp_path: Path) -> None:
    for name, template in pods([one for one in documents(tmp_path, exposed=True) if one["kind"] != "Pod"]).items():
        (container,) = template["spec"]["containers"]
        mounts = {one["mountPath"] for one in container["volumeMounts"]}
        assert container["command"][:2] == ["sh", "/etc/airflow/programs/start.sh"], name
        assert mounts >= {"/etc/airflow/programs", "/etc/airflow/certificates"}, name


def test_a_new_version_of_a_secret_rolls_those_who_have_it_alone(tmp_path: Path) -> None:
    def checksums(**versions: str) -> dict[str, str]:
        templates = pods(
            [one for one in documents(tmp_path, versions=versions) if one["kind"] in ("Deployment", "Job")]
        )
        return {name: one["metadata"]["annotations"]["checksum/secrets"] for name, one in templates.items()}

    before, after = checksums(), checksums(**{"airflow-jwt-secret": "2"})
    assert {name for name, one in after.items() if one != before[name]} == {"api-server", "scheduler"}


def test_every_port_of_a_policy_or_a_service_is_one_of_its_pods(made: list[Any]) -> None:
    templates = pods([one for one in made if one["kind"] != "Pod"])
    ports = {name: _ports(one) for name, one in templates.items()}
    for service in _of_kind(made, "Service"):
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= ports[component]
    for policy in _of_kind(made, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        (wanted,) = [one["values"] for one in selector.get("matchExpressions", [{"values": []}])]
        chosen = wanted or [selector["matchLabels"].get("app.kubernetes.io/component")]
        named = {port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule["ports"]}
        assert all(named <= ports[one] for one in chosen if one)


def test_each_deployment_can_lose_a_pod_at_a_time(made: list[Any]) -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in _of_kind(made, "PodDisruptionBudget")}
    for deployment in _of_kind(made, "Deployment"):
        budget = budgets[deployment["metadata"]["name"]]
        assert (budget["selector"], budget["maxUnavailable"]) == (deployment["spec"]["selector"], 1)


def test_only_the_web_pages_are_exposed_and_with_tls_alone(tmp_path: Path) -> None:
    assert not [one for one in documents(tmp_path) if one.get("spec", {}).get("type") == "LoadBalancer"]
    exposed = documents(tmp_path, exposed=True)
    (balancer,) = [one for one in _of_kind(exposed, "Service") if one["spec"]["type"] == "LoadBalancer"]
    assert [one["port"] for one in balancer["spec"]["ports"]] == [443]
    assert balancer["spec"]["loadBalancerSourceRanges"] == ["203.0.113.0/24"]
    for made, address in ((documents(tmp_path), "/"), (exposed, "https://airflow.example.com")):
        (container,) = pods(made)["api-server"]["spec"]["containers"]
        assert {"name": "AIRFLOW__API__BASE_URL", "value": address} in container["env"]
    (container,) = pods(exposed)["web"]["spec"]["containers"]
    assert "--apps=core" in container["command"]
    assert {one.partition("=")[0] for one in container["command"]} >= {"--ssl-cert", "--ssl-key"}


def _of_kind(made: list[Any], kind: str) -> list[Any]:
    return [one for one in made if one["kind"] == kind]


def _ports(pod: Any) -> set[str]:
    return {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())}
