"""The modules of every run, imported where its process is forked from: importing takes longer than a run."""

from __future__ import annotations

from typing import Any

import azure.keyvault.secrets  # noqa: F401
import psycopg  # noqa: F401
import redis  # noqa: F401
import websockets.asyncio.client  # noqa: F401

from airflowaks.cloud.connection import Connection
from airflowaks.config.environment import load_environment
from airflowaks.session import Session
from tests.support.torture import phases  # noqa: F401

_CLIENTS = ("resources", "authorization", "identities", "clusters", "registries", "registry_tasks", "postgresql")
_nobody: Any = None
_session = Session(load_environment("local"), "plan", Connection(credential=_nobody))
for _client in (*_CLIENTS, "managed_redis", "vaults", "graph"):
    getattr(_session, _client)
