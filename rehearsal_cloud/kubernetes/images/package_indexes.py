"""Package indexes: the user's pip configuration of indexes, proxies and certificates, translated for uv.

Values may hold passwords: they go into uv's environment, never into its arguments.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import dataclass

_SECONDS = 30.0
# https://pip.pypa.io/en/stable/cli/pip/#general-options, https://docs.astral.sh/uv/reference/environment/
_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "HTTPS_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
_SECTIONS = ("global.", "install.", ":env:.")
"""From the weakest to the strongest."""


@dataclass(frozen=True)
class PackageIndexes:
    """uv's configuration of package indexes: its environment, and its options."""

    environment: dict[str, str]
    options: tuple[str, ...]


def package_indexes(own_proxy: str) -> PackageIndexes:
    """Return uv's equivalent of pip's configuration; the user's uv settings take precedence.

    `own_proxy` is the rehearsal's proxy, which does not reach an index; a shell with the rehearsal's settings names it.
    """
    kept = dict(os.environ)
    if kept.get("HTTPS_PROXY") == own_proxy:
        del kept["HTTPS_PROXY"]
        kept.pop("NO_PROXY", None)
    settings = _pip_settings()
    configured = {_VARIABLES[key]: " ".join(value.split()) for key, value in settings.items() if key in _VARIABLES}
    if "UV_FIND_LINKS" in configured:
        configured["UV_FIND_LINKS"] = configured["UV_FIND_LINKS"].replace(" ", ",")
    # pip's strategy; and the machine's certificates, which include a company's own.
    defaults = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"}
    options = ("--no-index",) if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else ()
    return PackageIndexes({**defaults, **configured, **kept}, options)


def _pip_settings() -> dict[str, str]:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,  # an interpreter without pip has no configuration of it
    )
    lines = [line.partition("=") for line in listed.stdout.splitlines()]
    return {
        name.removeprefix(section): str(ast.literal_eval(value)).strip()
        for section in _SECTIONS
        for name, _, value in lines
        if name.startswith(section)
    }
