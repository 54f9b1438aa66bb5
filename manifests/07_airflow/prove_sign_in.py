"""Proves that Entra takes this pod's token for a secret of the application: it asks for a token as the application.

That token can do nothing, as the application has no permission; it is not kept.
"""

import json
import os
import sys
from pathlib import Path

import requests

_SECONDS = 30


def refusal() -> str:
    """Return why Entra refuses, or nothing."""
    sign_in = json.loads(Path(__file__).with_name("sign-in.json").read_text(encoding="utf-8"))
    answer = requests.post(
        f"https://login.microsoftonline.com/{sign_in['tenant_id']}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "scope": "https://graph.microsoft.com/.default",
            "client_id": sign_in["client_id"],
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text(encoding="utf-8"),
        },
        timeout=_SECONDS,
    )
    return "" if answer.ok else answer.json().get("error_description", answer.text)


if __name__ == "__main__":
    sys.exit(refusal() or 0)
