"""The database URLs: whatever the password, everybody who opens one reads the same."""

from __future__ import annotations

import string
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from airflowaks.cloud.database_urls import DatabaseUrl, password_of

HOST = "airflow.postgres.database.azure.com"
# NUL ends a string for libpq; surrogates have no UTF-8.
PASSWORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
NAMES = st.text(string.ascii_lowercase + string.digits + "_-.@/: %", min_size=1)
SCHEMES = st.sampled_from(["postgresql+psycopg2", "postgresql+psycopg", "db+postgresql+psycopg2"])


@settings(deadline=None)
@given(password=PASSWORDS, user=NAMES, database=NAMES, scheme=SCHEMES)
def test_a_url_says_what_it_was_made_of(password: str, user: str, database: str, scheme: str) -> None:
    url = DatabaseUrl(user, password, HOST, 6432, database)
    spelled = url.spell(scheme)
    assert spelled.startswith(f"{scheme}://")
    assert DatabaseUrl.parse(spelled) == url
    assert password_of(spelled) == password


@settings(deadline=None)
@given(password=PASSWORDS, user=NAMES, database=NAMES)
def test_libpq_reads_the_same(password: str, user: str, database: str) -> None:
    read = conninfo_to_dict(DatabaseUrl(user, password, HOST, 5432, database).spell("postgresql"))
    assert (read["user"], read["password"], read["host"], read["port"]) == (user, password, HOST, "5432")
    assert (read["dbname"], read["sslmode"], read["sslrootcert"]) == (database, "verify-full", "system")


@settings(deadline=None)
@given(password=PASSWORDS, scheme=SCHEMES)
def test_a_plain_splitter_reads_the_same(password: str, scheme: str) -> None:
    parts = urlsplit(DatabaseUrl("airflow", password, HOST, 5432, "airflow").spell(scheme))
    assert (parts.scheme, parts.username, parts.hostname, parts.port) == (scheme, "airflow", HOST, 5432)
    assert (unquote(parts.password or ""), parts.path) == (password, "/airflow")


@settings(deadline=None)
@given(password=st.text(min_size=8))
def test_a_url_does_not_show_its_password(password: str) -> None:
    url = DatabaseUrl("u", password, "h", 5432, "d")
    assert f"{url}" == repr(url) == str(url) == "postgresql://u@h:5432/d"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "postgresql://airflow@host:5432/airflow",
        "postgresql://airflow:password@host/airflow",
        "postgresql://airflow:half/of-a-password@host:5432/airflow",
        "postgresql://[airflow:half-of-a-password@host:5432/airflow",
        "postgresql://airflow:password@:5432/airflow",
    ],
)
def test_what_is_no_such_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the URL ") as caught:
        DatabaseUrl.parse(url)
    assert "half" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql://airflow@host/airflow", "postgresql://[nonsense"])
def test_what_has_no_password_has_none(url: str) -> None:
    assert password_of(url) is None
