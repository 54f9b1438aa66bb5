"""A company's proxy shows certificates of its own root; PostgreSQL and Redis, behind no proxy, show public ones."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import yaml

from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.config.paths import manifests_folder
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.certificates import keep_in_store
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.session import Session

pytestmark = pytest.mark.broad


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rehearsal behind a company's proxy."""
    home = tmp_path_factory.mktemp("company")
    yield start_rehearsal(home, "--time-scale", "0.00002", "--company-root")
    run_rehearsal(home, "reset")


@pytest.fixture
def session(company: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session with the company's root as `ca_bundle`, on a machine whose store has the public roots."""
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(company.home))
    keep_in_store(str(company.home / "ca.pem"), monkeypatch)
    return open_session("local")


def test_both_roots_are_trusted_at_once(session: Session, company: Rehearsal) -> None:
    assert session.connection.ca_bundle == str(company.home / "company-ca.pem")
    cluster.everything(session)
    registry.everything(session)
    backend.everything(session)
    key_vault.everything(session)
    assert not cluster.checks(session).failed
    assert not backend.checks(session).failed
    assert not key_vault.checks(session).failed


def test_pods_trust_the_image_beside_the_company(
    session: Session, company: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings,) = yaml.safe_load_all(manifests_folder("07_airflow").joinpath("configuration.yaml").read_text())
    assert settings["data"]["SSL_CERT_DIR"] == "/etc/ssl/certs"
    public, inspected = company.home / "ca.pem", company.home / "company-ca.pem"
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(public)]  # Debian names its certificates so
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / f"{name}.0").write_bytes(public.read_bytes())
    url = DatabaseUrl.parse(session.memoize(key_vault.Resources).sql_connection.require("value").reveal())
    monkeypatch.setenv("SSL_CERT_FILE", str(inspected))
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(url.spell("postgresql"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    step3 = session.memoize(backend.Resources)
    address, forwarded = step3.route.address(step3.server.host, step3.server.port)
    with psycopg.connect(url.spell("postgresql"), hostaddr=address, port=forwarded) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (url.user,)
    port = json.loads((company.home / "settings.json").read_text())["https_port"]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        ssl.create_default_context().wrap_socket(raw, server_hostname="management.azure.com"),
    ):
        pass


_GET = """
import contextlib, os, requests, sys, urllib.error, urllib.request
for url, proxy in zip(sys.argv[1::2], sys.argv[2::2]):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"https": proxy} if proxy else {}))
    with contextlib.suppress(urllib.error.HTTPError):
        opener.open(url)
    requests.get(url, proxies={"https": proxy})
print(open(os.environ["SSL_CERT_FILE"]).read().count("BEGIN CERTIFICATE"))
"""


def test_what_reads_one_file_alone_trusts_both_in_a_pod(company: Rehearsal, tmp_path: Path) -> None:
    programs, certificates = tmp_path / "airflow" / "programs", tmp_path / "airflow" / "certificates"
    programs.mkdir(parents=True)
    certificates.mkdir()
    start = programs / "start.sh"
    start.write_text(manifests_folder("07_airflow").joinpath("start.sh").read_text())
    (tmp_path / "ca-certificates.crt").write_bytes((company.home / "ca.pem").read_bytes())
    (certificates / "ca.pem").write_bytes((company.home / "company-ca.pem").read_bytes())
    (settings,) = yaml.safe_load_all(manifests_folder("07_airflow").joinpath("configuration.yaml").read_text())
    assert settings["data"]["SSL_CERT_FILE"] == settings["data"]["REQUESTS_CA_BUNDLE"] == "${CERTIFICATE_FILE}"
    port = json.loads((company.home / "settings.json").read_text())["https_port"]
    public, inspected = f"https://localhost:{port}/", "https://management.azure.com/"
    command = [sys.executable, "-c", _GET, public, "", inspected, company.connection["HTTPS_PROXY"]]
    file = str(tmp_path / "certificates.pem")
    variables = {"SSL_CERT_DIR": str(tmp_path), "SSL_CERT_FILE": file, "REQUESTS_CA_BUNDLE": file}
    before = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=dict.fromkeys(variables, str(certificates / "ca.pem")),
    )
    assert "CERTIFICATE_VERIFY_FAILED" in before.stderr
    done = subprocess.run(
        ["sh", str(start), *command],  # noqa: S607 - the image's
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **variables},
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_the_combined_file_is_private_and_holds_both(session: Session, company: Rehearsal) -> None:
    file = Path(session.connection.ca_file)
    for root in ("ca.pem", "company-ca.pem"):
        assert (company.home / root).read_text().strip() in file.read_text()
    assert file.parent.stat().st_mode & 0o077 == 0
    assert open_session("local").connection.ca_file == str(file)
