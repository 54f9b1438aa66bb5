"""Azure Policy: assignments that deny a type of resource, in writes and in what PolicyInsights foretells of them.

Shapes: https://learn.microsoft.com/rest/api/policyinsights/policy-restrictions, and for the refusal
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import SUBSCRIPTION_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.faults import Faults

_SCOPE = f"/subscriptions/{SUBSCRIPTION_ID}/providers/Microsoft.Authorization"
ASSIGNMENT = f"{_SCOPE}/policyAssignments/not-allowed-types"
DEFINITION = f"{_SCOPE}/policyDefinitions/not-allowed-types"


def check_policies(faults: Faults, full_type: str, name: str) -> None:
    """Raise ServiceError (403) where a policy denies the type."""
    if faults.restriction("policy", full_type):
        identifiers = [
            {
                "policyAssignment": {"name": "Not allowed resource types", "id": ASSIGNMENT},
                "policyDefinition": {"name": "Not allowed resource types", "id": DEFINITION},
            }
        ]
        text = f"Resource '{name}' was disallowed by policy. Policy identifiers: '{json.dumps(identifiers)}'."
        raise ServiceError(403, "RequestDisallowedByPolicy", text)


def restrictions(faults: Faults, content: Document) -> Document:
    """Return what the policies make of a resource's content, as `checkPolicyRestrictions` answers it."""
    denied = faults.restriction("policy", str(content.get("type", "")))
    evaluation = {
        "policyInfo": {"policyDefinitionId": DEFINITION, "policyAssignmentId": ASSIGNMENT},
        "evaluationResult": "NonCompliant",
        "evaluationDetails": {"evaluatedExpressions": []},
        "effectDetails": {"policyEffect": "Deny"},
    }
    return {"fieldRestrictions": [], "contentEvaluationResult": {"policyEvaluations": [evaluation] if denied else []}}
