"""The SDKs' clients in several threads: what they make at the first use is made before they are shared."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.first_uses import CLIENTS, models, new_session


def test_every_sdk_is_completed_before_its_client_is_shared() -> None:
    session = new_session()
    clients = [session.secrets("https://vault.example.com"), *(getattr(session, name) for name in CLIENTS)]
    late = [model for model in models("azure") if f"{model.__module__}.{model.__qualname__}" not in model._calculated]
    assert (late, len({model.__module__ for model in models("azure")})) == ([], 7)
    for client in clients:
        client.close()


def test_a_pipeline_is_open_before_it_is_shared() -> None:
    with new_session().graph as graph:
        assert graph._pipeline._transport.session is not None


@pytest.mark.parametrize(
    "trials",
    [
        pytest.param(60, marks=pytest.mark.broad),  # the sum of 60 processes
        pytest.param(2000, marks=pytest.mark.torture),
    ],
)
def test_no_first_use_in_several_threads_fails(trials: int) -> None:
    program = [sys.executable, "-W", "ignore", "-m", "tests.support.first_uses", str(trials)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=3600)
    assert (done.returncode, done.stdout.strip()) == (0, f"0 of {trials} failed"), done.stdout + done.stderr
