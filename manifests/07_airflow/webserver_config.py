"""How people sign in to Airflow: with Entra, by an application that has no secret.

The auth manager runs this file: https://airflow.apache.org/docs/apache-airflow-providers-fab/stable/auth-manager/sso.html.
The local administrator keeps its password for the REST API (POST /auth/token), and for emergencies.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask_appbuilder.const import AUTH_DB, AUTH_OAUTH

_SIGN_IN = json.loads(Path(__file__).with_name("sign-in.json").read_text(encoding="utf-8"))


def _with_assertion(
    client: Any, method: str, uri: str, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    """Add the client's ID and the pod's token, which stands in for a secret, to a request for tokens (RFC 7523).

    The kubelet renews the file, so it is read each time. authlib calls this with the arguments of its own methods:
    https://github.com/authlib/authlib/blob/v1.7.2/authlib/oauth2/auth.py
    """
    del method
    assertion = Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text(encoding="utf-8")
    proof = {
        "client_id": client.client_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }
    return uri, headers, f"{body}&{urlencode(proof)}"


AUTH_TYPE = AUTH_OAUTH if _SIGN_IN else AUTH_DB

if _SIGN_IN:
    OAUTH_PROVIDERS = [
        {
            "name": "azure",
            "icon": "fa-windows",
            "token_key": "access_token",
            "remote_app": {
                "client_id": _SIGN_IN["client_id"],
                "server_metadata_url": f"https://login.microsoftonline.com/{_SIGN_IN['tenant_id']}"
                "/v2.0/.well-known/openid-configuration",
                "client_kwargs": {
                    # Signature, issuer and audience of a token are verified; the issuer is this tenant.
                    "tenant_id": _SIGN_IN["tenant_id"],
                    "scope": "openid profile",
                    "code_challenge_method": "S256",
                    "token_endpoint_auth_method": _with_assertion,
                },
            },
        }
    ]
    # A person's roles are at each sign-in those of the person's groups; who is in none of them has no right.
    AUTH_OAUTH_ROLE_KEYS = {"azure": "groups"}
    AUTH_ROLES_MAPPING = _SIGN_IN["roles"]
    AUTH_ROLES_SYNC_AT_LOGIN = True
    AUTH_USER_REGISTRATION = True
    AUTH_USER_REGISTRATION_ROLE = "Public"
