"""Verifies tokens, each one once: a client sends the same token with every request, and its signature stays valid."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jwt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_KEPT = 128  # tokens, of some kilobytes each with their claims; each program that signs in gets its own


class Verifier:
    """Verifies the tokens that `key` signs for `issuer`; whom they are for is up to the caller."""

    def __init__(self, key: RSAPrivateKey, issuer: str) -> None:
        public = key.public_key()

        @lru_cache(_KEPT)
        def decode(token: str) -> dict[str, Any] | jwt.InvalidTokenError:
            required: Any = {"verify_aud": False, "require": ["exp", "aud"]}
            try:
                return jwt.decode(token, public, algorithms=["RS256"], issuer=issuer, options=required)
            except (jwt.DecodeError, jwt.InvalidIssuerError) as forged:  # what no time changes
                return type(forged)(*forged.args)  # the raised one keeps the frames of its request

        self._decode = decode

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token. Raises jwt.InvalidTokenError: forged, expired, or another issuer's."""
        found = self._decode(token)
        if isinstance(found, jwt.InvalidTokenError):
            raise type(found)(*found.args)
        if found["exp"] <= time.time():
            text = "Signature has expired"
            raise jwt.ExpiredSignatureError(text)
        return found
