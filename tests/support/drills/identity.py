"""Drills of the way of a secret from the vault into a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.entra import send
from airflowaks.kube.client import Reference
from airflowaks.session import open_session
from airflowaks.steps import airflow, cluster, key_vault, workload_identity
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import Drills, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.kube.objects import KubeObject
    from tests.support.drills.drill import Scene

IDENTITY = Drills()
_COMPONENT = "triggerer"
_ISSUER = "https://westeurope.oic.prod-aks.azure.com/22222222-2222-4222-8222-222222222222/of-another-cluster"
_NOBODY = "99999999-9999-4999-8999-999999999999"


@IDENTITY.drill("AKA-301", proof=workload_identity)
def the_pods_identity_loses_its_role(scene: Scene) -> Iterator[None]:
    scene.session.authorization.role_assignments.delete_by_id(scene.step(workload_identity).vault_access.id)
    yield


@IDENTITY.drill("AKA-302")
def a_federated_credential_has_another_issuer(scene: Scene) -> Iterator[None]:
    credential = scene.step(workload_identity).credentials[0]
    credential.put({"properties": {**credential.desired()["properties"], "issuer": _ISSUER}})
    scene.replace(_COMPONENT)
    yield


@IDENTITY.drill("AKA-302")
def a_federated_credential_is_deleted(scene: Scene) -> Iterator[None]:
    credential = scene.step(workload_identity).credentials[1]
    operations = scene.session.identities.federated_identity_credentials
    operations.delete(credential.group, credential.parent.name, credential.name)
    yield


def _class(scene: Scene) -> KubeObject:
    found: list[KubeObject] = scene.step(workload_identity).objects
    return next(one for one in found if one.kind == "SecretProviderClass" and one.name == f"airflow-{_COMPONENT}")


def _write_class(scene: Scene, **parameters: str) -> None:
    """Write a component's class as a run of step 5 with another environment file leaves it, and have a pod mount it."""
    document: Any = _class(scene).manifest.fill()
    document["spec"]["parameters"] |= parameters
    scene.kube.apply(document)
    scene.replace(_COMPONENT)


@IDENTITY.drill("AKA-303")
def entra_cannot_reach_the_issuer(scene: Scene) -> Iterator[None]:
    scene.refuse(methods=["GET"], host=r"\.oic\.prod-aks\.azure\.com$", status=503)
    scene.replace(_COMPONENT)
    yield
    scene.serve()


@IDENTITY.drill("AKA-304")
def a_class_names_an_identity_that_is_gone(scene: Scene) -> Iterator[None]:
    _write_class(scene, clientID=_NOBODY)
    yield


@IDENTITY.drill("AKA-305")
def a_class_names_no_identity(scene: Scene) -> Iterator[None]:
    _write_class(scene, clientID="")
    yield


@IDENTITY.drill("AKA-316")
def the_application_loses_its_credential_and_a_group(scene: Scene) -> Iterator[None]:
    credential, step1 = scene.step(workload_identity).sign_in[0], scene.step(cluster)
    send(scene.session, "DELETE", credential.id)
    assignments = send(scene.session, "GET", step1.assigned_groups.id)["value"]
    send(scene.session, "DELETE", f"{step1.assigned_groups.id}/{assignments[0]['id']}")
    yield


@IDENTITY.drill("AKA-317")
def a_url_in_the_vault_is_written_by_hand(scene: Scene) -> Iterator[None]:
    """It works, and no pod has it yet."""
    secret = scene.step(key_vault).sql_connection
    url = secret.require("value").reveal()
    scene.step(key_vault).vault.secrets.set_secret(secret.name, f"{url}&application_name=by-hand")
    yield


@IDENTITY.drill("AKA-319", by_hand=True)
def a_class_names_a_vault_that_is_not_there(scene: Scene) -> Iterator[None]:
    _write_class(scene, keyvaultName="nobodys-vault-0")
    yield
    workload_identity.service_accounts(scene.session)


@IDENTITY.drill("AKA-306")
def the_label_is_taken_off_the_pods(scene: Scene) -> Iterator[None]:
    labels = {"azure.workload.identity/use": None}
    scene.patch(deployment("scheduler"), {"spec": {"template": {"metadata": {"labels": labels}}}})
    yield


@IDENTITY.drill("AKA-307")
def the_add_on_is_switched_off(scene: Scene) -> Iterator[None]:
    known = scene.step(cluster).cluster
    facts = known.kept(known.refresh())
    addons = {name: {**one, "enabled": False} for name, one in facts["properties"]["addonProfiles"].items()}
    known.put({**facts, "properties": {**facts["properties"], "addonProfiles": addons}})
    yield


@IDENTITY.drill("AKA-308")
def the_vault_is_closed(scene: Scene) -> Iterator[None]:
    vault = scene.step(key_vault).vault
    parameters: Any = {"properties": {"publicNetworkAccess": "Disabled"}}
    scene.session.vaults.vaults.update(vault.group, vault.name, parameters)
    yield


@IDENTITY.drill("AKA-309")
def pods_read_a_secret_that_none_mounts(scene: Scene) -> Iterator[None]:
    """Somebody takes the volume out of the pods; the Secret goes, and no pod that mounts it makes it again."""
    before = scene.pods(_COMPONENT)
    scene.edit(
        _COMPONENT,
        {"volumes": [{"name": "secrets", "$patch": "delete"}]},
        volumeMounts=[{"mountPath": "/mnt/secrets", "$patch": "delete"}],
    )
    scene.await_rolled(_COMPONENT, before)
    scene.kube.delete(Reference("v1", "Secret", f"airflow-{_COMPONENT}", NAMESPACE))
    scene.replace(_COMPONENT)
    yield


@IDENTITY.drill("AKA-310")
def a_secret_is_rotated(scene: Scene) -> Iterator[None]:
    key_vault.rotate(scene.session, key_vault.ADMIN_PASSWORD)
    yield


@IDENTITY.drill("AKA-311", also=("AKA-310",))
def the_driver_looks_into_the_vault_once_a_year(scene: Scene) -> Iterator[None]:
    known = scene.step(cluster).cluster
    facts = known.kept(known.refresh())
    (addon,) = facts["properties"]["addonProfiles"].values()
    addon["config"]["rotationPollInterval"] = "8760h"
    known.put(facts)
    key_vault.rotate(scene.session, key_vault.ADMIN_PASSWORD)
    yield
    airflow.components(open_session("local"))


@IDENTITY.drill("AKA-312", proof=key_vault)
def a_secret_is_deleted(scene: Scene) -> Iterator[None]:
    step4 = scene.step(key_vault)
    step4.vault.secrets.begin_delete_secret(step4.api_secret_key.name).result()
    yield


@IDENTITY.drill("AKA-313")
def a_secret_is_disabled(scene: Scene) -> Iterator[None]:
    step4 = scene.step(key_vault)
    step4.vault.secrets.update_secret_properties(step4.api_secret_key.name, enabled=False)
    yield


@IDENTITY.drill("AKA-314")
def a_class_is_deleted(scene: Scene) -> Iterator[None]:
    scene.kube.delete(_class(scene).reference)
    yield


@IDENTITY.drill("AKA-315")
def the_operator_loses_the_role_at_the_vault(scene: Scene) -> Iterator[None]:
    scene.session.authorization.role_assignments.delete_by_id(scene.step(key_vault).access.id)
    yield
