"""The mapping from errors of Azure, PostgreSQL and Redis to the error tree.

The codes come from the services' troubleshooting guides. Any other code becomes an AzureError with the service's
message. The caller chains the original exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks import errors
from airflowaks.errors import AirflowAksError, AzureError, Unexpected

if TYPE_CHECKING:
    from airflowaks.cloud.redaction import Redactor

_LONGEST_REASON = 400


@dataclass(frozen=True)
class _Mapping:
    """One entry: Azure error codes, outer or inner, and words of the message, with the error and action for them."""

    error: type[AzureError]
    codes: tuple[str, ...]
    action: str
    words: str = ""

    def matches(self, codes: tuple[str, ...], text: str) -> bool:
        return not set(self.codes).isdisjoint(codes) and self.words.lower() in text.lower()


_MAPPINGS = (
    _Mapping(
        errors.ServiceRetired,
        ("BadRequest",),
        "Set `broker.kind: managed_redis` in the environment file: this tenant cannot create classic caches.",
        "Azure Cache for Redis is retiring",
    ),
    _Mapping(
        errors.ServiceRetired,
        ("BadRequest",),
        "Choose a Balanced_*, MemoryOptimized_* or ComputeOptimized_* SKU for the broker.",
        "Enterprise resources is no longer supported",
    ),
    _Mapping(
        errors.ProviderNotRegistered,
        ("MissingSubscriptionRegistration",),
        "Run step 1, which registers the providers, or `az provider register --namespace …`; then run again.",
    ),
    _Mapping(
        errors.QuotaExceeded,
        ("OperationNotAllowed", "QuotaExceeded", "ErrCode_InsufficientVCPUQuota"),
        "Choose a smaller size or another region, or request more quota in the portal under Quotas.",
        "quota",
    ),
    _Mapping(
        errors.SkuNotAvailable,
        ("SkuNotAvailable", "AvailabilityZoneNotSupported", "AKSCapacityHeavyUsage", "SkuNotSupported"),
        "Choose another size, zone or region in the environment file.",
    ),
    _Mapping(
        errors.SoftDeleted,
        ("ConflictError", "Conflict"),
        "Recover it with `az keyvault recover --name …`, purge it with `az keyvault purge --name …`, or set another"
        " `key_vault.name`.",
        "deleted state",
    ),
    _Mapping(
        errors.SoftDeleted,
        ("ObjectIsDeletedButRecoverable",),
        "Recover the secret with `az keyvault secret recover`, then run step 4 again.",
    ),
    _Mapping(
        errors.NameTaken,
        (
            "VaultAlreadyExists",
            "AlreadyInUse",
            "ServerNameAlreadyExists",
            "NameNotAvailable",
            "StorageAccountAlreadyTaken",
            "RegistryNameAlreadyInUse",
        ),
        "Set another name in the environment file: it must be unique in all of Azure.",
    ),
    _Mapping(
        AzureError,
        ("SecretDisabled",),
        "Enable it with `az keyvault secret set-attributes --enabled true`, or delete it; then run step 4 again.",
    ),
    _Mapping(
        errors.PermissionDenied,
        ("ForbiddenByRbac",),
        "Run step 4 with mode=apply, which assigns you Key Vault Secrets Officer, or request that role on the vault; it"
        " takes effect within ten minutes.",
    ),
    _Mapping(
        errors.PermissionDenied,
        ("AuthorizationFailed", "Authorization_RequestDenied", "LinkedAuthorizationFailed", "Forbidden"),
        "Request the role that the message names; the whole runbook needs Owner on the subscription and Groups"
        " Administrator in Entra.",
    ),
    _Mapping(
        errors.PrincipalNotFound,
        ("PrincipalNotFound",),
        "Wait a few minutes until Entra has replicated the principal, then run the step again.",
    ),
    _Mapping(
        errors.PolicyViolation,
        ("RequestDisallowedByPolicy",),
        "Request an exemption from the owner of the policy that the message names, or change the environment.",
    ),
    _Mapping(
        errors.Throttled,
        ("SubscriptionRequestsThrottled", "TooManyRequests", "ResourceRequestsThrottled"),
        "Wait a few minutes and run the step again: it continues where it stopped.",
    ),
)


def translate(error: BaseException, subject: str, redactor: Redactor) -> AirflowAksError:
    """Return the error of the tree for an exception about `subject`; an error of the tree is returned unchanged."""
    if isinstance(error, AirflowAksError):
        return error
    codes, reason = error_codes(error), _reason(error, redactor)
    code = codes[0] if codes else ""
    refused = f"{subject}: Azure refused the request{f' ({code})' if code else ''}: {reason}"
    for mapping in _MAPPINGS:
        if mapping.matches(codes, reason):
            return mapping.error(refused, mapping.action, code)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    match type(error).__module__.partition(".")[0]:
        case "azure" if "ClientAuthenticationError" in kinds:
            action = "Sign in with `az login`, or give the pipeline's job a service connection; then run again."
            return errors.SignInFailed(f"{subject}: sign-in failed: {reason}", action)
        case "azure" if not kinds.isdisjoint({"ServiceRequestError", "ServiceResponseError"}):
            action = "Check the network, and `proxy` and `ca_bundle` in the environment file; then run the step again."
            return AzureError(f"{subject}: Azure is unreachable: {reason}", action)
        case "azure":
            return AzureError(refused, "Fix the cause that Azure's message names, then run the step again.", code)
        case "psycopg":
            action = (
                "Check the server's state, its firewall rules and the role's password, which step 4 resets. Recent"
                " changes take a few minutes to apply."
            )
            return AzureError(f"{subject}: PostgreSQL refused: {reason}", action, getattr(error, "sqlstate", "") or "")
        case "redis":
            action = "Check that access keys are enabled and that the vault holds a current one, which step 4 writes."
            return AzureError(f"{subject}: the broker refused: {reason}", action)
    action = "Report this error with its traceback (`raise error.__cause__`)."
    return Unexpected(f"{subject}: {type(error).__name__}: {reason}", action)


def error_code(error: BaseException) -> str:
    """Return the Azure code of an SDK error, such as `PrincipalNotFound`, or an empty string."""
    return next(iter(error_codes(error)), "")


def error_codes(error: BaseException) -> tuple[str, ...]:
    """Return the error's code and its inner codes, each more specific: `Forbidden`, `SecretDisabled`."""
    codes = []
    details = _details(error)
    while details:
        codes.append(str(details.get("code") or ""))
        inner = details.get("innererror") or details.get("inner_error")
        details = inner if isinstance(inner, Mapping) else {}
    return tuple(codes)


def _details(error: BaseException) -> Mapping[str, Any]:
    details = getattr(error, "error", None)
    return details if isinstance(details, Mapping) else getattr(details, "__dict__", {})


def _reason(error: BaseException, redactor: Redactor) -> str:
    text = _details(error).get("message") or getattr(error, "message", None) or str(error) or type(error).__name__
    reason = " ".join(redactor.redact(str(text)).split())
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
