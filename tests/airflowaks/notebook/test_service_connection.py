"""How the runbook signs in where a pipeline runs it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from airflowaks.errors import SignInFailed
from airflowaks.session import open_session

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "the-token-of-a-job"


def test_a_service_connection_is_asked_for_a_token(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As far as that can be told here: nobody stands in for Azure DevOps, so its token service is out of reach."""
    monkeypatch.chdir(workplace)
    for name in ("TENANT_ID", "CLIENT_ID", "SERVICE_CONNECTION_ID"):
        monkeypatch.setenv(f"AZURESUBSCRIPTION_{name}", "11111111-1111-1111-1111-111111111111")
    monkeypatch.setenv("SYSTEM_OIDCREQUESTURI", "https://dev.azure.com/someone/_apis/oidctoken")
    monkeypatch.setenv("SYSTEM_ACCESSTOKEN", TOKEN)
    caplog.set_level(logging.WARNING, "azure.identity._internal")
    with pytest.raises(SignInFailed) as caught:
        open_session("dev", "plan").operator  # noqa: B018 - who it is, is known by signing in
    assert "ClientAssertionCredential.get_token failed" in caplog.text, "and not that of az"
    assert TOKEN not in str(caught.value)
