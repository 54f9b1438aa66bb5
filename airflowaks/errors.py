"""The error tree: each error has a code, one sentence on what happened, and the next step.

    AirflowAksError
    ├── InvalidEnvironment      the environment file breaks a rule; nothing was created
    ├── InvalidParameter        a notebook parameter is unknown or has the wrong type; nothing was created
    ├── NotConfirmed            an apply that needs confirmation was not confirmed; nothing was created
    ├── PreflightStopped        Azure cannot take the environment as it is; nothing was created
    ├── DriftFound              mode=check found a resource that an apply would change
    ├── CheckFailed             a step's check from outside failed
    ├── NotConverged            a resource still differs from the environment after it was written
    ├── ImmutableProperty       an update cannot set this value; the resource must be recreated
    ├── UpgradeRequired         a version is not the environment's; the upgrade notebook alone changes it
    ├── UpgradeBlocked          an upgrade would be refused, or is not safe; nothing was changed
    ├── MissingDependency       a resource that another step creates does not exist yet
    ├── StepFailed              a step of a deployment failed
    ├── SignInFailed            the session could not get an access token
    ├── RehearsalUnavailable    the rehearsal cloud did not start, or ended under a run
    ├── InvalidManifest         a manifest is not valid, or has a placeholder without a value
    ├── ImageBuildFailed        the registry could not build the image
    ├── RolloutFailed           a Deployment or Job did not become ready
    ├── PortInUse               a port of this machine that was asked for is in use
    ├── CommandFailed           a command in a container ended with a nonzero exit code
    ├── Unexpected              any exception that has no class in this tree; the original is its cause
    ├── KubernetesError         the Kubernetes API refused; the subclasses are what the operator can act on
    │   ├── Forbidden
    │   ├── FieldConflict
    │   ├── InvalidObject
    │   └── ClusterUnreachable
    └── AzureError              Azure refused; the subclasses are what the operator can act on
        ├── ProviderNotRegistered
        ├── QuotaExceeded
        ├── SkuNotAvailable
        ├── NameTaken
        ├── SoftDeleted
        ├── PermissionDenied
        ├── PrincipalNotFound
        ├── PolicyViolation
        ├── ServiceRetired
        ├── OperationInProgress
        └── Throttled

The tree is flat on purpose: a caller handles either all errors or one class.
"""

from __future__ import annotations

import re
from typing import ClassVar


class AirflowAksError(Exception):
    """The base of all errors: what happened and what to do about it, in two lines.

    `message` names the resource, the value and the reason; `action` is the operator's next step. Neither holds a
    secret. `code` is the name of the class in kebab case: `invalid-environment`.
    """

    code: ClassVar[str] = "error"
    needs: str = ""
    """The right that the caller lacks, where that is the reason."""

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, message: str, action: str) -> None:
        super().__init__(message, action)
        self.message = message
        self.action = action

    def __str__(self) -> str:
        return f"{self.message}\n→ {self.action}"

    def _render_traceback_(self) -> list[str]:
        """Show two lines instead of a traceback. IPython calls this; the cell still fails, and so does papermill."""
        return [f"{self.code}: {self.message}", f"→ {self.action}"]


class InvalidEnvironment(AirflowAksError):
    """The environment file breaks a rule; nothing was created."""


class InvalidParameter(AirflowAksError):
    """A notebook parameter is unknown or has the wrong type; nothing was created."""


class NotConfirmed(AirflowAksError):
    """An apply that needs confirmation was not confirmed; nothing was created."""


class PreflightStopped(AirflowAksError):
    """A verdict of the preflight stops an apply; nothing was created."""


class DriftFound(AirflowAksError):
    """`mode=check` found a resource that an apply would change."""


class CheckFailed(AirflowAksError):
    """A step's check from outside failed."""


class NotConverged(AirflowAksError):
    """A resource still differs from the environment after it was written."""


class ImmutableProperty(AirflowAksError):
    """An update cannot set this value; the resource must be recreated."""


class UpgradeRequired(AirflowAksError):
    """A version is not the environment's; the upgrade notebook alone changes it."""


class UpgradeBlocked(AirflowAksError):
    """An upgrade would be refused, or is not safe; nothing was changed."""


class MissingDependency(AirflowAksError):
    """A resource that another step creates does not exist yet."""


class StepFailed(AirflowAksError):
    """A step of a deployment failed; the message and the action include the step's own."""


class SignInFailed(AirflowAksError):
    """The session could not get an access token."""


class RehearsalUnavailable(AirflowAksError):
    """The rehearsal cloud did not start, or ended under a run."""


class InvalidManifest(AirflowAksError):
    """A manifest is not valid, or has a placeholder without a value; no object in it was applied."""


class ImageBuildFailed(AirflowAksError):
    """The registry could not build the image; the message ends with the last lines of the build log."""


class RolloutFailed(AirflowAksError):
    """A Deployment or Job did not become ready."""


class PortInUse(AirflowAksError):
    """A port of this machine that was asked for is in use, or not this user's to open."""


class CommandFailed(AirflowAksError):
    """A command in a container ended with a nonzero exit code."""


class KubernetesError(AirflowAksError):
    """The Kubernetes API refused a request; `status` is the HTTP status, `reason` that of the API's Status object."""

    def __init__(self, message: str, action: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message, action)
        self.status = status
        self.reason = reason


class Forbidden(KubernetesError):
    """The signed-in principal lacks a permission in the cluster."""


class FieldConflict(KubernetesError):
    """Another field manager owns a field and set it to a different value from the manifest's."""


class InvalidObject(KubernetesError):
    """The API rejects an object as invalid; it was not applied."""


class ClusterUnreachable(KubernetesError):
    """The Kubernetes API of the cluster does not answer."""


class Unexpected(AirflowAksError):
    """Any exception that has no class in this tree; the original is its cause."""


class AzureError(AirflowAksError):
    """Azure refused a request; `azure_code` is the service's error code."""

    def __init__(self, message: str, action: str, azure_code: str = "", *, needs: str = "") -> None:
        super().__init__(message, action)
        self.azure_code = azure_code
        self.needs = needs


class ProviderNotRegistered(AzureError):
    """The subscription is not registered for a resource provider."""


class QuotaExceeded(AzureError):
    """The request exceeds the subscription's quota."""


class SkuNotAvailable(AzureError):
    """The SKU is not available in this region or zone."""


class NameTaken(AzureError):
    """A name is taken: a globally unique one by another subscription, an application's by another of the tenant."""


class SoftDeleted(AzureError):
    """A vault or secret with that name is soft-deleted."""


class PermissionDenied(AzureError):
    """The signed-in principal lacks an Azure role."""


class PrincipalNotFound(AzureError):
    """The principal is not in Entra, or has not been replicated yet."""


class PolicyViolation(AzureError):
    """An Azure Policy forbids the request."""


class ServiceRetired(AzureError):
    """The service no longer accepts new instances."""


class OperationInProgress(AzureError):
    """Another operation on the resource is in progress, and did not end in time."""


class Throttled(AzureError):
    """The service throttled requests for longer than the client's retries last."""
