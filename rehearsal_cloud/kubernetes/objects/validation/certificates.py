"""Rules of certificate signing requests."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import duplicate, invalid, not_supported, required

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_LEAST_SECONDS = 600
_PEM = re.compile(rb"\s*-----BEGIN CERTIFICATE REQUEST-----")
_SIGNER = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[^/].*")
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip


def signing_request(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a request (pkg/apis/certificates/validation/validation.go)."""
    spec = document["spec"]
    if not _PEM.match(base64.b64decode(spec.get("request", ""))):
        yield invalid("spec.request", spec.get("request"), "PEM block type must be CERTIFICATE REQUEST")
    usages = spec.get("usages") or []
    if not usages:
        yield required("spec.usages", "usages must be provided")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            yield not_supported(f"spec.usages[{index}]", usage, _USAGES)
        if usage in usages[:index]:
            yield duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName", "")
    if not signer:
        yield required("spec.signerName", "signerName must be provided")
    elif signer == "kubernetes.io/legacy-unknown":
        yield invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
    elif not _SIGNER.fullmatch(signer):
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield invalid("spec.signerName", signer, text)
    if spec.get("expirationSeconds", _LEAST_SECONDS) < _LEAST_SECONDS:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", spec["expirationSeconds"], text)
