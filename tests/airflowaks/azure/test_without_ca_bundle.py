"""Without `ca_bundle` the servers show certificates of public authorities, whose roots the system keeps in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import psycopg
import pytest

from airflowaks.cloud import certificates
from airflowaks.session import Session
from airflowaks.steps import backend, cluster, key_vault
from tests.support.certificates import keep_in_store

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal


@pytest.fixture
def session(group: ResourceGroup, rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session of a real environment without `ca_bundle`, where the rehearsal's CA is a public authority."""
    authority = rehearsal.connection["REQUESTS_CA_BUNDLE"]
    keep_in_store(authority, monkeypatch)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority)  # in place of certifi, which the Azure SDKs trust
    return Session(group.session.environment, "apply", replace(group.session.connection, ca_bundle=None))


def test_steps_3_and_4_verify_with_the_systems_file(session: Session) -> None:
    cluster.everything(session)
    backend.everything(session)
    key_vault.everything(session)
    assert not backend.checks(session).failed
    assert not key_vault.checks(session).failed

    server = session.memoize(backend.Resources).server
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(host=server.host, port=server.port, user="nobody", sslmode="verify-full", sslrootcert="system")


def test_it_is_the_file_of_openssl_then_the_systems_then_certifis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl, system = tmp_path / "openssl.pem", tmp_path / "system.pem"
    monkeypatch.setattr(certificates, "_BUNDLES", (str(tmp_path / "missing.pem"), str(system)))
    keep_in_store(None, monkeypatch)
    assert certificates.public_roots() == Path(certifi.where())
    system.touch()
    assert certificates.public_roots() == system
    openssl.touch()
    keep_in_store(str(openssl), monkeypatch)
    assert certificates.public_roots() == openssl


def test_ssl_cert_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tmp_path / "chosen.pem"
    chosen.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(chosen))
    assert certificates.public_roots() == chosen


def test_public_roots_stand_beside_a_company_s_even_where_ssl_cert_file_names_that_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = tmp_path / "company.pem"
    company.write_text("the company's root\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(company))
    content = certificates.with_public_roots(str(company)).read_bytes()
    assert content.startswith(b"the company's root\n")
    assert Path(certifi.where()).read_bytes().rstrip() in content
