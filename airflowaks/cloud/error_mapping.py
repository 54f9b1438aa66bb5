"""The mapping from errors of Azure, PostgreSQL and Redis to the error tree.

azure_errors.yaml maps Azure's codes. Any other code becomes an AzureError with the service's message. The caller chains
the original exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks import errors
from airflowaks.cloud.answers import cut_answer, web_page_behind
from airflowaks.errors import AirflowAksError, AzureError, Unexpected

if TYPE_CHECKING:
    from airflowaks.cloud.redaction import Redactor

_CODES = Path(__file__).with_name("azure_errors.yaml")
_LONGEST_REASON = 400
# Resource Manager and Key Vault name the action that no role of the caller covers; Graph names none.
_MISSING_ACTION = re.compile(r"(?:to perform action|Action:) '([^']+)'")
_GRAPH_REFUSAL = "Authorization_RequestDenied"
_READ_OF_GRAPH = {
    "/oauth2PermissionGrants": "consents, such as Directory.Read.All",
    "/applications": "applications, such as Application.Read.All",
    "/servicePrincipals": "applications, such as Application.Read.All",
    "": "groups, such as GroupMember.Read.All",
}
"""What Graph lets who lacks it not read, by a part of the request's URL, and a permission for that."""
_UNTRUSTED = (
    "Add the root certificate of the server or of your company's proxy to `ca_bundle` in the environment file, or"
    " update this machine's public root certificates; then run the step again."
)


@dataclass(frozen=True)
class _Mapping:
    """An entry of azure_errors.yaml: an error of the tree and an action, for codes, words and a kind of resource."""

    error: str
    codes: Sequence[str]
    action: str
    words: str = ""
    kind: str = ""

    def matches(self, codes: tuple[str, ...], text: str, subject: str) -> bool:
        coded = not self.codes or not set(self.codes).isdisjoint(codes)
        return coded and self.words.lower() in text.lower() and subject.startswith(self.kind)


@cache
def _mappings() -> list[_Mapping]:
    import yaml

    return [_Mapping(**entry) for entry in yaml.safe_load(_CODES.read_bytes())]


def translate(error: BaseException, subject: str, redactor: Redactor) -> AirflowAksError:
    """Return the error of the tree for an exception about `subject`; an error of the tree is returned unchanged."""
    if named := error if isinstance(error, AirflowAksError) else web_page_behind(error) or cut_answer(error):
        return named
    codes, reason = error_codes(error), _reason(error, redactor)
    code = codes[0] if codes else ""
    refused = f"{subject}: Azure refused the request{f' ({code})' if code else ''}: {reason}"
    if mapping := _mapping(error, subject):
        kind: type[AzureError] = getattr(errors, mapping.error)
        return kind(refused, mapping.action, code, needs=_missing_right(error, codes))
    kinds = {kind.__name__ for kind in type(error).__mro__}
    match type(error).__module__.partition(".")[0]:
        case "azure" if "ClientAuthenticationError" in kinds:
            return errors.SignInFailed(f"{subject}: sign-in failed: {reason}", sign_in_action(error))
        case "azure" if not kinds.isdisjoint({"ServiceRequestError", "ServiceResponseError"}):
            action = "Check the network, and `proxy` and `ca_bundle` in the environment file; then run the step again."
            return AzureError(f"{subject}: Azure is unreachable: {reason}", action)
        case "azure":
            return AzureError(refused, "Fix the cause that Azure's message names, then run the step again.", code)
        case "psycopg":
            action = (
                _UNTRUSTED
                if distrusts_certificate(reason)
                else "Check the server's state, its firewall rules and the role's password, which step 4 resets. Recent"
                " changes take a few minutes to apply."
            )
            return AzureError(f"{subject}: PostgreSQL refused: {reason}", action, getattr(error, "sqlstate", "") or "")
        case "redis":
            action = "Check that access keys are enabled and that the vault holds a current one, which step 4 writes."
            return AzureError(f"{subject}: the broker refused: {reason}", action)
    action = "Report this error with its traceback (`raise error.__cause__`)."
    return Unexpected(f"{subject}: {type(error).__name__}: {reason}", action)


def sign_in_action(error: BaseException) -> str:
    """Return what to do where there is no access token.

    Of an `az` that azure-identity 1.27 stopped waiting for, it says only that it failed to invoke it (`azure_cli.py`).
    """
    if "Failed to invoke the Azure CLI" in _text(error):
        return (
            "`az` was too slow: repeat `az account get-access-token` until it answers within seconds; then run again."
        )
    return "Sign in with `az login`, or give the pipeline's job a service connection; then run again."


def is_busy(error: BaseException) -> bool:
    """Tell whether Azure refused because another operation on the resource is in progress."""
    mapping = _mapping(error)
    return mapping is not None and mapping.error == errors.OperationInProgress.__name__


def _mapping(error: BaseException, subject: str = "") -> _Mapping | None:
    codes, text = error_codes(error), _text(error)
    return next((mapping for mapping in _mappings() if mapping.matches(codes, text, subject)), None)


def distrusts_certificate(text: str) -> bool:
    """Tell whether libpq's message is about the server's certificate, which no waiting makes valid.

    https://github.com/postgres/postgres/blob/REL_17_STABLE/src/interfaces/libpq/fe-secure-openssl.c
    """
    words = ("certificate verify failed", "does not match host name", "root certificate file")
    return any(word in text for word in words)


def error_codes(error: BaseException) -> tuple[str, ...]:
    """Return the error's code and its inner codes, each more specific: `Forbidden`, `SecretDisabled`."""
    codes = []
    details = _details(error)
    while details:
        codes.append(str(details.get("code") or ""))
        inner = details.get("innererror") or details.get("inner_error")
        details = inner if isinstance(inner, Mapping) else {}
    return tuple(codes)


def _missing_right(error: BaseException, codes: tuple[str, ...]) -> str:
    if named := _MISSING_ACTION.search(_text(error)):
        return named[1]
    if _GRAPH_REFUSAL not in codes:
        return ""
    url = str(getattr(getattr(getattr(error, "response", None), "request", None), "url", ""))
    objects = next(objects for part, objects in _READ_OF_GRAPH.items() if part in url)
    return f"a permission of Microsoft Graph to read {objects}"


def _details(error: BaseException) -> Mapping[str, Any]:
    details = getattr(error, "error", None)
    return details if isinstance(details, Mapping) else getattr(details, "__dict__", {})


def _reason(error: BaseException, redactor: Redactor) -> str:
    return redactor.one_line(_text(error), _LONGEST_REASON)


def _text(error: BaseException) -> str:
    return str(_details(error).get("message") or getattr(error, "message", None) or error) or type(error).__name__
