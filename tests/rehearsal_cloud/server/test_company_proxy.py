"""Behind a company's proxy all of Azure's hosts show certificates of the company's root, and nothing else does."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    home = tmp_path_factory.mktemp("company")
    yield start_rehearsal(home, "--company-root")
    run_rehearsal(home, "reset")


def shake_hands(port: int, host: str, cafile: str) -> None:
    context = ssl.create_default_context(cafile=cafile)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=host),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "root", "unrelated"),
    [("management.azure.com", "company-ca.pem", "ca.pem"), ("localhost", "ca.pem", "company-ca.pem")],
)
def test_which_root_a_host_shows(company: Rehearsal, host: str, root: str, unrelated: str) -> None:
    assert company.connection["REQUESTS_CA_BUNDLE"] == str(company.home / "company-ca.pem")
    port = json.loads((company.home / "settings.json").read_text())["https_port"]
    shake_hands(port, host, str(company.home / root))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(port, host, str(company.home / unrelated))
