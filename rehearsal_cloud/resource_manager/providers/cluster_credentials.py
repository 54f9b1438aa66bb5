"""The credentials of managed clusters in Resource Manager's answers.

https://learn.microsoft.com/azure/aks/manage-local-accounts-managed-azure-ad
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.kubeconfig import Kubeconfig
from rehearsal_cloud.resource_manager.resource_types import Answer

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Call


async def user_credential(call: Call, document: Document) -> Answer:
    """Answer the user kubeconfig. Raises ServiceError (400) where local accounts are needed and disabled."""
    kubeconfig = Kubeconfig(call.cloud.home.ca_file.read_text(), document)
    if document["properties"].get("aadProfile"):
        return Answer({"kubeconfigs": [{"name": "clusterUser", "value": kubeconfig.entra()}]})
    _check_local_accounts(document)
    return Answer({"kubeconfigs": [{"name": "clusterUser", "value": kubeconfig.static("clusterUser")}]})


async def admin_credential(call: Call, document: Document) -> Answer:
    """Answer the administrator's kubeconfig. Raises ServiceError (400) while local accounts are disabled."""
    _check_local_accounts(document)
    kubeconfig = Kubeconfig(call.cloud.home.ca_file.read_text(), document)
    return Answer({"kubeconfigs": [{"name": "clusterAdmin", "value": kubeconfig.static("clusterAdmin")}]})


def _check_local_accounts(document: Document) -> None:
    if document["properties"]["disableLocalAccounts"]:
        text = "Getting static credential is not allowed because this cluster is set to disable local accounts."
        raise ServiceError(400, "BadRequest", text)
