"""The error tree: a code, one sentence saying what happened to what, and the next thing to do.

    AirflowAksError
    ├── InvalidEnvironment      the environment file breaks a rule; nothing was created
    ├── InvalidParameter        a notebook's parameter is unknown or of the wrong kind; nothing was created
    ├── NotConfirmed            an apply that asks first was not confirmed; nothing was created
    ├── DriftFound              mode=check found something that would change
    ├── CheckFailed             a step's check from outside failed
    ├── TroubleFound            a diagnosis found what keeps Airflow from working
    ├── NotConverged            a resource was written and still reads differently
    ├── ImmutableProperty       the wanted value cannot be had by an update
    ├── MissingDependency       what another step makes is not there yet
    ├── StepFailed              a step of a whole deployment failed
    ├── SignInFailed            no token could be had for the session
    ├── RehearsalUnavailable    the rehearsal cloud could not be started or reached
    ├── InvalidManifest         a manifest cannot be read, or has a placeholder without a value
    ├── ImageBuildFailed        the registry could not build the image
    ├── RolloutFailed           what was rolled out did not become ready
    ├── CommandFailed           a command in a container ended with another exit code than 0
    ├── Unexpected              anything that has no place above, with its cause chained
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
        └── Throttled

The tree is flat on purpose: a caller either handles all of it or one leaf.
"""

from __future__ import annotations

from typing import ClassVar


class AirflowAksError(Exception):
    """What happened, and what to do about it, in two lines.

    `message` names the thing and the value; `action` is the next step for the operator. Neither holds a secret.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, action: str) -> None:
        super().__init__(message, action)
        self.message = message
        self.action = action

    def __str__(self) -> str:
        return f"{self.message}\n→ {self.action}"

    def _render_traceback_(self) -> list[str]:
        """Show two lines, not a traceback (IPython calls this; the reply still says error, so papermill fails)."""
        return [f"{self.code}: {self.message}", f"→ {self.action}"]


class InvalidEnvironment(AirflowAksError):
    """The environment file breaks a rule; nothing was created."""

    code = "invalid-environment"


class InvalidParameter(AirflowAksError):
    """A notebook's parameter is unknown or of the wrong kind; nothing was created."""

    code = "invalid-parameter"


class NotConfirmed(AirflowAksError):
    """An apply that asks first was not confirmed; nothing was created."""

    code = "not-confirmed"


class DriftFound(AirflowAksError):
    """`mode=check` found something that would change."""

    code = "drift-found"


class CheckFailed(AirflowAksError):
    """A step's check from outside failed."""

    code = "check-failed"


class TroubleFound(AirflowAksError):
    """A diagnosis found what keeps Airflow from working."""

    code = "trouble-found"


class NotConverged(AirflowAksError):
    """A resource was written and still reads differently from what is wanted."""

    code = "not-converged"


class ImmutableProperty(AirflowAksError):
    """The wanted value cannot be had by an update: the resource would have to be made anew."""

    code = "immutable-property"


class MissingDependency(AirflowAksError):
    """What another step makes is not there yet."""

    code = "missing-dependency"


class StepFailed(AirflowAksError):
    """A step of a whole deployment failed; its own two lines are in the message and the action."""

    code = "step-failed"


class SignInFailed(AirflowAksError):
    """No token could be had for the session."""

    code = "sign-in-failed"


class RehearsalUnavailable(AirflowAksError):
    """The rehearsal cloud could not be started or reached."""

    code = "rehearsal-unavailable"


class InvalidManifest(AirflowAksError):
    """A manifest cannot be read, or has a placeholder without a value; nothing of it was applied."""

    code = "invalid-manifest"


class ImageBuildFailed(AirflowAksError):
    """The registry could not build the image; the message ends with the last lines of the build's log."""

    code = "image-build-failed"


class RolloutFailed(AirflowAksError):
    """What was rolled out did not become ready."""

    code = "rollout-failed"


class CommandFailed(AirflowAksError):
    """A command in a container ended with another exit code than 0."""

    code = "command-failed"


class KubernetesError(AirflowAksError):
    """The Kubernetes API refused; `status` is the HTTP status and `reason` the API's own word for why."""

    code = "kubernetes-error"

    def __init__(self, message: str, action: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message, action)
        self.status = status
        self.reason = reason


class Forbidden(KubernetesError):
    """The signed-in principal lacks a right in the cluster."""

    code = "forbidden"


class FieldConflict(KubernetesError):
    """Another tool manages a field, and wants another value than the manifest does."""

    code = "field-conflict"


class InvalidObject(KubernetesError):
    """The API finds an object invalid; nothing of it was applied."""

    code = "invalid-object"


class ClusterUnreachable(KubernetesError):
    """The cluster's API does not answer."""

    code = "cluster-unreachable"


class Unexpected(AirflowAksError):
    """An exception that has no place elsewhere in the tree; the original is its cause."""

    code = "unexpected"


class AzureError(AirflowAksError):
    """Azure refused a request; `azure_code` is the service's own error code."""

    code = "azure-error"

    def __init__(self, message: str, action: str, azure_code: str = "") -> None:
        super().__init__(message, action)
        self.azure_code = azure_code


class ProviderNotRegistered(AzureError):
    """The subscription is not registered for a resource provider."""

    code = "provider-not-registered"


class QuotaExceeded(AzureError):
    """The subscription's quota does not allow it."""

    code = "quota-exceeded"


class SkuNotAvailable(AzureError):
    """The size is not to be had in this region or zone."""

    code = "sku-not-available"


class NameTaken(AzureError):
    """A globally unique name belongs to somebody else."""

    code = "name-taken"


class SoftDeleted(AzureError):
    """A vault or secret of that name is soft-deleted."""

    code = "soft-deleted"


class PermissionDenied(AzureError):
    """The signed-in principal lacks a role."""

    code = "permission-denied"


class PrincipalNotFound(AzureError):
    """Entra does not know the principal (yet)."""

    code = "principal-not-found"


class PolicyViolation(AzureError):
    """An Azure Policy forbids the request."""

    code = "policy-violation"


class ServiceRetired(AzureError):
    """The service takes no new instances."""

    code = "service-retired"


class Throttled(AzureError):
    """The service asked to slow down, longer than the client's retries last."""

    code = "throttled"
