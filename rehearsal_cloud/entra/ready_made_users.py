"""The users that a new tenant has: whoever looks at a rehearsal signs in as them, without a password."""

from __future__ import annotations

DOMAIN = "rehearsal.onmicrosoft.com"
_PARTS = ("administrator", "developer", "viewer", "outsider")
WITHOUT_MAILBOX = "developer"
"""Of a user without a mailbox `mail` is null, and tokens have no `email`:
https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#payload-claims."""
USERS = {
    f"77777777-7777-4777-8777-77777777770{number}": {
        "displayName": f"Rehearsal {part.title()}",
        "givenName": "Rehearsal",
        "surname": part.title(),
        "userPrincipalName": f"{part}@{DOMAIN}",
        "mail": None if part == WITHOUT_MAILBOX else f"{part}@{DOMAIN}",
    }
    for number, part in enumerate(_PARTS, start=1)
}
"""The users' properties by their object IDs."""
