"""Tokens that the rehearsal has verified before."""

from __future__ import annotations

import gc
import time
import weakref

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rehearsal_cloud.entra.verifier import Verifier

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def token(seconds: float) -> str:
    return jwt.encode({"iss": "here", "aud": "all", "exp": time.time() + seconds}, KEY, "RS256")


def test_a_token_that_was_verified_ends_all_the_same() -> None:
    verifier, ending = Verifier(KEY, "here"), token(2)
    assert verifier.claims(ending)["aud"] == "all"
    time.sleep(2)
    with pytest.raises(jwt.ExpiredSignatureError):
        verifier.claims(ending)


def test_a_token_that_is_not_valid_yet_becomes_so() -> None:
    verifier = Verifier(KEY, "here")
    early = jwt.encode({"iss": "here", "aud": "all", "exp": time.time() + 60, "nbf": time.time() + 1}, KEY, "RS256")
    with pytest.raises(jwt.ImmatureSignatureError):
        verifier.claims(early)
    time.sleep(2)
    assert verifier.claims(early)["aud"] == "all"


def test_a_forged_token_is_refused_again_and_again() -> None:
    verifier, forged = Verifier(KEY, "here"), token(60)[:-8] + "AAAAAAAA"
    for _ in range(2):
        with pytest.raises(jwt.InvalidSignatureError):
            verifier.claims(forged)
        with pytest.raises(jwt.InvalidIssuerError):
            Verifier(KEY, "there").claims(token(60))


class Request:
    """What a caller holds while it asks."""


def test_a_refused_token_keeps_nothing_of_its_request() -> None:
    """A cluster first takes each token of Entra for one of a service account."""
    verifier, forged = Verifier(KEY, "here"), token(60)[:-8] + "AAAAAAAA"

    def ask() -> weakref.ref[Request]:
        request = Request()
        with pytest.raises(jwt.InvalidSignatureError):
            verifier.claims(forged)
        return weakref.ref(request)

    kept = ask()
    gc.collect()
    assert kept() is None
    with pytest.raises(jwt.InvalidSignatureError, match="Signature verification failed"):
        verifier.claims(forged)
