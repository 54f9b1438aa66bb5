"""Where packages come from: what the user has told pip of indexes, proxies and certificates, told to uv.

Values may hold passwords: they go into uv's environment, never into its arguments.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys

_SECONDS = 30.0
# https://pip.pypa.io/en/stable/cli/pip/#general-options, https://docs.astral.sh/uv/reference/environment/
_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "HTTPS_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
_SECTIONS = ("global.", "install.", ":env:.")
"""From the weakest to the strongest."""


def uv_environment(own_proxy: str) -> dict[str, str]:
    """Return the environment that makes uv find packages where pip finds them.

    `own_proxy` is the rehearsal's own, which leads to no index: a shell that the rehearsal is set up in names it.
    """
    kept = {name: value for name, value in os.environ.items() if value != own_proxy}
    if len(kept) < len(os.environ):
        kept.pop("NO_PROXY", None)
    told = {_VARIABLES[key]: value for key, value in _pip_settings().items() if key in _VARIABLES}
    if "UV_FIND_LINKS" in told:
        told["UV_FIND_LINKS"] = ",".join(told["UV_FIND_LINKS"].split())
    # As pip chooses; and the machine's own certificates, where a company adds its own.
    defaults = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"}
    return {**defaults, **told, **kept}


def _pip_settings() -> dict[str, str]:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,  # an interpreter without pip has nobody who configured it
    )
    lines = [line.partition("=") for line in listed.stdout.splitlines()]
    return {
        name.removeprefix(section): str(ast.literal_eval(value)).strip()
        for section in _SECTIONS
        for name, _, value in lines
        if name.startswith(section)
    }
