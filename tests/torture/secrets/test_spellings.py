"""The hunt finds what is hidden: a secret in each of its spellings, and a token."""

from __future__ import annotations

import textwrap
from base64 import b64encode

import pytest

from tests.torture.secrets.spellings import leaks, spellings

SECRET = 'p&ss/w"rd<1>2:3@4 \\ with-26-and-more'
FERNET = "cFJrZ3Z6Qm1hN2x0aFZ5dE1xT2pXc0x4ZUR1Yk5pR2s="


@pytest.mark.parametrize("secret", [SECRET, FERNET], ids=["odd", "fernet"])
@pytest.mark.parametrize("spelling", spellings(FERNET))
def test_each_spelling_is_found(secret: str, spelling: str) -> None:
    text = f"before {spellings(secret)[spelling]}after"
    assert any(line.endswith("in a log") for line in leaks({"it": secret}, {"a log": text}))


@pytest.mark.parametrize("offset", range(7))
def test_base64_of_a_text_around_it_is_found(offset: int) -> None:
    text = b64encode(b"x" * offset + SECRET.encode() + b"and more").decode()
    assert leaks({"it": SECRET}, {"a log": f"Basic {text}"})


def test_a_secret_over_several_lines_is_found() -> None:
    for width in (5, 11):
        lines = textwrap.wrap(FERNET, width)
        for between in ("\n", "\r\n    ", '"\n"', "\\n", '", "'):
            assert leaks({"it": FERNET}, {"a log": between.join(lines)}), between


def test_hexadecimal_is_found_in_capitals() -> None:
    assert leaks({"it": FERNET}, {"a log": FERNET.encode().hex().upper()})


def test_a_token_is_found_whatever_it_is_of() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJlLW9m"
    assert leaks({}, {"a log": f"Bearer {token}"}) == ["a token, in a log"]


def test_nothing_is_found_where_nothing_is() -> None:
    assert leaks({"it": FERNET}, {"a log": f"{FERNET[:11]} {FERNET[-11:]} (secret) eyJhbGciOiJSUzI1NiJ9"}) == []
