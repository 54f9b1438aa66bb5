"""The spellings in which a secret could be written: encoded, cut, turned around, spread over lines."""

from __future__ import annotations

import html
import json
import re
from base64 import b32encode, b64encode, b85encode, urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HALF = 12
"""A shorter half of a secret could be in a text by chance."""
_ENVELOPE = re.compile(r"""\\[nrt]|[\s"',+\\]""")
"""What stands between the parts of a text that is spread over lines, as JSON and Python write it."""
TOKEN = "a token"
_JWT = re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
"""A token: whatever it is of."""


def spellings(secret: str) -> dict[str, str]:
    """Return the spellings of a secret by name; hexadecimal digits in lower case."""
    raw = secret.encode()
    found = {
        "plain": secret,
        "quoted": quote(secret, safe=""),
        "quoted but for /": quote(secret),
        "quoted as a form": quote_plus(secret),
        "quoted twice": quote(quote(secret, safe=""), safe=""),
        "percent": "".join(f"%{byte:02x}" for byte in raw),
        "HTML": html.escape(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "repr": repr(secret)[1:-1],
        "backwards": secret[::-1],
        "hexadecimal": raw.hex(),
        "hexadecimal with spaces": raw.hex(" "),
        "hexadecimal with colons": raw.hex(":"),
        "UTF-16": raw.decode().encode("utf-16-le").hex(),
        "base32": b32encode(raw).decode().rstrip("="),
        "base85": b85encode(raw).decode(),
        "base64 twice": b64encode(b64encode(raw)).decode().rstrip("="),
        **{f"base64 at {offset}": text for offset, text in _base64(raw, urlsafe=False)},
        **{f"URL-safe base64 at {offset}": text for offset, text in _base64(raw, urlsafe=True)},
    }
    if len(secret) >= 2 * _HALF:
        found |= {"first half": secret[: len(secret) // 2], "second half": secret[len(secret) // 2 :]}
    return found


def _base64(raw: bytes, *, urlsafe: bool) -> Iterator[tuple[int, str]]:
    """Return what base64 makes of the secret within other text, where it begins at each of three offsets."""
    encode = urlsafe_b64encode if urlsafe else b64encode
    for offset in range(3):
        text = encode(b"\0" * offset + raw).decode().rstrip("=")
        # The first and the last character depend on what stands beside the secret.
        first = (0, 2, 3)[offset]
        yield offset, text[first : len(text) - bool((offset + len(raw)) % 3)]


def leaks(secrets: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """Return where a spelling of a secret, or any token, is found: secret, spelling and place, never the secret."""
    needles = {text: f"{name}, {how}" for name, secret in secrets.items() for how, text in spellings(secret).items()}
    found = []
    for place, text in texts.items():
        forms = {text, text.lower(), _ENVELOPE.sub("", text)}
        found += [f"{what}, in {place}" for needle, what in needles.items() if any(needle in form for form in forms)]
        if _JWT.search(text):
            found.append(f"{TOKEN}, in {place}")
    return sorted(found)
