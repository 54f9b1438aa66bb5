"""No secret survives in anything that prints."""

from __future__ import annotations

import html
import json
import shlex
from base64 import b64encode, urlsafe_b64encode
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.cloud.redaction import MASK, Redactor, Secret
from airflowaks.engine.changes import Action, Change, Changes, Difference

if TYPE_CHECKING:
    from collections.abc import Callable

# What hypothesis draws most readily is found in any text by chance; a mark in the middle is found in none.
SECRETS = st.tuples(st.text(max_size=6), st.text(max_size=6)).map("«4f1c9e»".join)


@settings(deadline=None)
@given(SECRETS)
def test_a_secret_shows_itself_in_no_format(text: str) -> None:
    secret = Secret(text)

    @dataclass
    class Holder:
        held: Secret

    shown = [
        repr(secret),
        str(secret),
        format(secret),
        f"{secret} {secret!r} {secret!s} {secret!a}",
        "%s %r %a" % (secret, secret, secret),  # noqa: UP031 - one of the ways to leak
        "{} {!r}".format(secret, secret),  # noqa: UP032 - likewise
        str([secret]),
        str({secret: secret}),
        repr(Holder(secret)),
        str(asdict(Holder(secret))),
        str(ValueError(secret)),
    ]
    assert all(MASK in one and "4f1c9e" not in one for one in shown)


@pytest.mark.parametrize(
    "leak",
    [
        "".join,
        lambda secret: "a" + secret,
        lambda secret: secret + "a",
        lambda secret: secret[:3],
        list,
        bytes,
        lambda secret: secret.encode(),
        json.dumps,
        lambda secret: json.dumps({secret: 1}),
        html.escape,
        quote,
        shlex.quote,
        vars,
        lambda secret: f"{secret:>20}",
    ],
)
def test_a_secret_is_no_text_until_it_is_revealed(leak: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        leak([Secret("do-not-tell")] if leak == "".join else Secret("do-not-tell"))
    assert "do-not-tell" not in str(caught.value)


def test_a_secret_compares_with_secrets_alone() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert {Secret("a"): 1}[Secret("a")] == 1
    assert Secret("a")
    assert not Secret("")


@settings(deadline=None)
@given(SECRETS, st.text(), st.text())
def test_a_known_secret_is_masked_however_it_is_written(text: str, before: str, after: str) -> None:
    redactor = Redactor()
    assert redactor.learn(text).reveal() == text
    spellings = [
        text,
        quote(text),
        quote(text, safe=""),
        quote_plus(text),
        urlencode({"password": text}),
        html.escape(text),
        html.escape(text, quote=False),
        json.dumps({"password": text}),
        json.dumps([text], ensure_ascii=False),
        repr(text),
        repr(ValueError(text)),
        b64encode(text.encode()).decode(),
        urlsafe_b64encode(text.encode()).decode(),
    ]
    for spelling in spellings:
        redacted = redactor.redact(f"{before}{spelling}{after}")
        assert MASK in redacted
        assert "4f1c9e" not in redacted.replace(before, "").replace(after, "")
        assert spelling not in redactor.redact(spelling)


@settings(deadline=None)
@given(SECRETS, st.sampled_from(["postgresql+psycopg2", "db+postgresql+psycopg2"]))
def test_the_password_of_a_known_url_is_known(password: str, scheme: str) -> None:
    redactor = Redactor()
    redactor.learn(DatabaseUrl("airflow", password, "host", 5432, "airflow").spell(scheme))
    assert redactor.redact(f"<{password}>") == f"<{MASK}>"
    assert redactor.redact(f"postgresql://airflow:{quote(password, safe='')}@other") == (
        f"postgresql://airflow:{MASK}@other"
    )


def test_each_of_several_fernet_keys_is_known() -> None:
    redactor = Redactor()
    redactor.learn("the-newest-key=,the-oldest-key=")
    assert redactor.redact("the-oldest-key= and the-newest-key=") == f"{MASK} and {MASK}"


def test_a_secret_within_a_secret_is_masked_as_one() -> None:
    redactor = Redactor()
    redactor.learn("password")
    redactor.learn("the-password-of-it")
    assert redactor.redact("the-password-of-it, password") == f"{MASK}, {MASK}"


def test_what_is_too_short_to_tell_from_words_is_left() -> None:
    redactor = Redactor()
    redactor.learn("")
    redactor.learn("airflow")
    assert redactor.redact("airflow works") == "airflow works"


@settings(deadline=None)
@given(SECRETS)
def test_changes_print_no_secret(text: str) -> None:
    secret = Secret(text)
    differences = (
        Difference("value", None, secret),
        Difference("old", secret, [secret, {"nested": secret}]),
        Difference("all", {"a": {"b": (secret,)}}, secret),
    )
    change = Change(kind="secret", name="one", action=Action.UPDATE, id="1", differences=differences)
    changes = Changes((change,))
    printed = [
        str(changes),
        repr(changes),
        changes.table().html(),
        json.dumps(changes._repr_mimebundle_()),
        json.dumps(change.record()),
        *map(str, differences),
    ]
    assert all(MASK in one and "4f1c9e" not in one for one in printed)
