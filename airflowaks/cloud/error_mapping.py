"""What Azure, PostgreSQL and Redis refuse, turned into the error tree where the operator can act on it.

The codes and their causes are collected in the troubleshooting guides of the services; a code that is not here becomes
an AzureError with the service's own words. The original is always chained by the caller.
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
class _Known:
    """Azure error codes, outer or inner, and words of their text, that the operator can act on."""

    error: type[AzureError]
    codes: tuple[str, ...]
    action: str
    words: str = ""

    def matches(self, codes: tuple[str, ...], text: str) -> bool:
        return not set(self.codes).isdisjoint(codes) and self.words.lower() in text.lower()


_KNOWN = (
    _Known(
        errors.ServiceRetired,
        ("BadRequest",),
        "Set `broker.kind: managed_redis` in the environment file: this tenant may not create classic caches.",
        "Azure Cache for Redis is retiring",
    ),
    _Known(
        errors.ServiceRetired,
        ("BadRequest",),
        "Choose a Balanced_*, MemoryOptimized_* or ComputeOptimized_* SKU for the broker.",
        "Enterprise resources is no longer supported",
    ),
    _Known(
        errors.ProviderNotRegistered,
        ("MissingSubscriptionRegistration",),
        "Run step 1, which registers the providers, or `az provider register --namespace …`, and run again.",
    ),
    _Known(
        errors.QuotaExceeded,
        ("OperationNotAllowed", "QuotaExceeded", "ErrCode_InsufficientVCPUQuota"),
        "Choose a smaller size or another region, or ask for more quota in the portal under Quotas.",
        "quota",
    ),
    _Known(
        errors.SkuNotAvailable,
        ("SkuNotAvailable", "AvailabilityZoneNotSupported", "AKSCapacityHeavyUsage", "SkuNotSupported"),
        "Choose another size, zone or region in the environment file.",
    ),
    _Known(
        errors.SoftDeleted,
        ("ConflictError", "Conflict"),
        "Recover it with `az keyvault recover --name …`, purge it with `az keyvault purge --name …`, or set another"
        " `key_vault.name`.",
        "deleted state",
    ),
    _Known(
        errors.SoftDeleted,
        ("ObjectIsDeletedButRecoverable",),
        "Recover the secret with `az keyvault secret recover`, then run step 4 again.",
    ),
    _Known(
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
    _Known(
        AzureError,
        ("SecretDisabled",),
        "Enable it with `az keyvault secret set-attributes --enabled true`, or delete it; then run step 4 again.",
    ),
    _Known(
        errors.PermissionDenied,
        ("ForbiddenByRbac",),
        "Run step 4 with mode=apply, which first assigns you Key Vault Secrets Officer, or ask for that role on the"
        " vault; it is heeded within ten minutes.",
    ),
    _Known(
        errors.PermissionDenied,
        ("AuthorizationFailed", "Authorization_RequestDenied", "LinkedAuthorizationFailed", "Forbidden"),
        "Ask for the role that the text names; the whole runbook takes Owner on the subscription and, in Entra, Groups"
        " Administrator.",
    ),
    _Known(
        errors.PrincipalNotFound,
        ("PrincipalNotFound",),
        "Entra does not know the principal yet: wait a few minutes and run the step again.",
    ),
    _Known(
        errors.PolicyViolation,
        ("RequestDisallowedByPolicy",),
        "Ask the owner of the policy that the text names for an exemption, or change the environment to comply.",
    ),
    _Known(
        errors.Throttled,
        ("SubscriptionRequestsThrottled", "TooManyRequests", "ResourceRequestsThrottled"),
        "Wait a few minutes and run the step again: it goes on where it stopped.",
    ),
)


def translate(error: BaseException, subject: str, redactor: Redactor) -> AirflowAksError:
    """Return the error of the tree for what was raised while something was done to `subject`.

    An error that is of the tree already is returned as it is.
    """
    if isinstance(error, AirflowAksError):
        return error
    codes, reason = error_codes(error), _reason(error, redactor)
    code = codes[0] if codes else ""
    for known in _KNOWN:
        if known.matches(codes, reason):
            return known.error(f"{subject} was refused ({code}): {reason}", known.action, code)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    match type(error).__module__.partition(".")[0]:
        case "azure" if "ClientAuthenticationError" in kinds:
            action = "Sign in with `az login`, or in a pipeline give the job a service connection; then run again."
            return errors.SignInFailed(f"{subject}: the sign-in was refused: {reason}", action)
        case "azure" if not kinds.isdisjoint({"ServiceRequestError", "ServiceResponseError"}):
            action = "Check the network, and `proxy` and `ca_bundle` in the environment file; then run the step again."
            return AzureError(f"{subject}: Azure could not be reached: {reason}", action)
        case "azure":
            action = "The text is Azure's own; run the step again once its cause is gone."
            return AzureError(f"{subject} was refused{f' ({code})' if code else ''}: {reason}", action, code)
        case "psycopg":
            action = (
                "Check the server's firewall rules, its state and the role's password: step 4 sets it anew. What was"
                " made in the last minutes may need a few more to be heeded."
            )
            return AzureError(f"{subject}: PostgreSQL refused: {reason}", action, getattr(error, "sqlstate", "") or "")
        case "redis":
            action = "Check that access keys are enabled and that the vault holds one of them: step 4 puts it there."
            return AzureError(f"{subject}: the broker refused: {reason}", action)
    action = "This is unexpected: run again with the traceback (`raise error.__cause__`) and report it."
    return Unexpected(f"{subject}: {type(error).__name__}: {reason}", action)


def error_code(error: BaseException) -> str:
    """Return Azure's own code of an SDK error (`PrincipalNotFound`), or an empty string."""
    return next(iter(error_codes(error)), "")


def error_codes(error: BaseException) -> tuple[str, ...]:
    """Return the error's code, then those inside it, each more precise: `Forbidden`, `SecretDisabled`."""
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
