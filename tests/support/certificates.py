"""The root certificates of public authorities, as a machine keeps them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def keep_in_store(file: str | None, patch: pytest.MonkeyPatch) -> None:
    """Make `file` the bundle of this machine's OpenSSL, which no environment variable names."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        patch.delenv(variable, raising=False)
    paths = ssl.get_default_verify_paths()._replace(cafile=file)
    patch.setattr(ssl, "get_default_verify_paths", lambda: paths)
