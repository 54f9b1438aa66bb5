import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import redis
import redis.asyncio
import trustme

from rehearsal_cloud.backends.tls import TlsTerminator
from rehearsal_cloud.backends.valkey import ValkeyServer

pytestmark = [pytest.mark.anyio, pytest.mark.broad]

KEYS = ["primary-access-key", "secondary-access-key"]


class Cache:
    """A Redis cache: a Valkey and the way into it."""

    def __init__(self, server: ValkeyServer, terminator: TlsTerminator, ca: Path) -> None:
        self.server, self.terminator, self.ca = server, terminator, ca

    def client(self, key: str | None = KEYS[0], scheme: str = "rediss", **options: object) -> redis.asyncio.Redis:
        tls = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(self.ca)} if scheme == "rediss" else {}
        url = f"{scheme}://localhost:{self.terminator.port}"
        return redis.asyncio.Redis.from_url(url, **{"password": key, "retry": None} | tls | options)

    async def ping(self, key: str | None = KEYS[0], **options: object) -> object:
        async with self.client(key, **options) as client:
            return await client.ping()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cache]:
    folder = tmp_path_factory.mktemp("cache")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = ValkeyServer(folder / "valkey")
    await server.create()
    terminator = TlsTerminator(0, context, lambda: server.socket)
    await terminator.start()
    yield Cache(server, terminator, folder / "ca.pem")
    await terminator.stop()
    await server.destroy()
    assert server.pids() == []
    assert not server.folder.exists()
    assert not server.socket.exists()


@pytest.fixture
async def cache(running: Cache) -> Cache:
    await running.server.set_keys(KEYS, enabled=True)
    return running


async def test_nobody_gets_in_before_there_are_keys(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path / "valkey")
    await server.create()
    try:
        async with redis.asyncio.Redis(unix_socket_path=str(server.socket), protocol=2, retry=None) as client:
            with pytest.raises(redis.ConnectionError, match="Authentication required"):
                await client.ping()
    finally:
        await server.destroy()


async def test_both_keys_open_the_cache_over_verified_tls(cache: Cache) -> None:
    assert [await cache.ping(key) for key in KEYS] == [True, True]
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        await cache.ping("guessed")
    with pytest.raises(redis.AuthenticationError, match="Authentication required"):
        await cache.ping(None, protocol=2)


async def test_an_unknown_authority_is_refused_by_the_client(cache: Cache, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        await cache.ping(ssl_ca_certs=str(tmp_path / "other.pem"))


async def test_a_plain_client_is_reset(cache: Cache) -> None:
    with pytest.raises(redis.ConnectionError, match="Connection reset by peer"):
        await cache.ping(scheme="redis")


async def test_a_large_value_comes_whole(cache: Cache) -> None:
    async with cache.client() as client:
        await client.set("large", b"x" * 20_000_000)
        assert await client.get("large") == b"x" * 20_000_000
        await client.delete("large")


async def test_a_regenerated_key_replaces_its_predecessor(cache: Cache) -> None:
    await cache.server.set_keys(["regenerated", KEYS[1]], enabled=True)
    assert await cache.ping("regenerated")
    assert await cache.ping(KEYS[1])
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        await cache.ping(KEYS[0])


async def test_disabled_keys_open_nothing_and_end_sessions(cache: Cache) -> None:
    async with cache.client() as client:
        await client.ping()
        await cache.server.set_keys(KEYS, enabled=False)
        with pytest.raises(redis.RedisError):
            await client.ping()
    with pytest.raises(redis.AuthenticationError, match="user is disabled"):
        await cache.ping()
    with pytest.raises(redis.AuthenticationError, match="Authentication required"):
        await cache.ping(None, protocol=2)


@pytest.mark.parametrize(
    "command",
    [
        *("CONFIG GET requirepass", "ACL LIST", "DEBUG SLEEP 0", "SHUTDOWN NOSAVE", "MODULE LIST", "SAVE", "BGSAVE"),
        *("REPLICAOF NO ONE", "SLAVEOF NO ONE", "MIGRATE h 1 k 0 1", "BGREWRITEAOF", "MONITOR", "CLUSTER INFO"),
    ],
)
async def test_commands_that_azure_keeps_for_itself(cache: Cache, command: str) -> None:
    async with cache.client() as client:
        with pytest.raises(redis.ResponseError, match=r"no permissions to run|DEBUG command not allowed"):
            await client.execute_command(*command.split())


async def test_there_is_database_0_only(cache: Cache) -> None:
    assert await cache.ping(db=0)
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        await cache.ping(db=1)


async def test_keys_memory_and_data_survive_a_restart_and_a_kill(cache: Cache) -> None:
    await cache.server.configure(maxmemory=50_000_000, policy="volatile-lru")
    for number, how in enumerate((signal.SIGTERM, signal.SIGKILL)):
        async with cache.client() as client:
            await client.set(f"kept-{number}", "yes")
        before = cache.server.pids()
        if how is signal.SIGKILL:
            os.kill(before[0], how)
        else:
            await cache.server.stop()
        await cache.server.start()
        assert set(before).isdisjoint(cache.server.pids())
    async with cache.client() as client:
        assert await client.mget("kept-0", "kept-1") == [b"yes", b"yes"]
        memory = await client.info("memory")
    assert (memory["maxmemory"], memory["maxmemory_policy"]) == (50_000_000, "volatile-lru")


async def test_a_full_cache_refuses_writes_with_noeviction(cache: Cache) -> None:
    await cache.server.configure(maxmemory=1, policy="noeviction")
    async with cache.client() as client:
        with pytest.raises(redis.ResponseError, match="used memory > 'maxmemory'"):
            await client.set("one", "too many")
    await cache.server.configure(maxmemory=0, policy="noeviction")


async def test_a_blocked_reader_is_served_and_a_vanished_one_forgotten(cache: Cache) -> None:
    async with cache.client() as reader, cache.client() as writer:
        waiting = asyncio.create_task(reader.brpop("queue", timeout=10))
        await asyncio.sleep(0.1)
        await writer.lpush("queue", "task")
        assert tuple(await waiting) == (b"queue", b"task")
        clients = (await writer.info("clients"))["connected_clients"]
        await reader.aclose()
        for _ in range(100):
            if (await writer.info("clients"))["connected_clients"] < clients:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the reader is still connected")


async def test_a_server_that_is_away_ends_the_connection_and_comes_back(cache: Cache) -> None:
    await cache.server.stop()
    with pytest.raises(redis.ConnectionError):
        await cache.ping()
    await cache.server.start()
    assert await cache.ping()


async def test_a_busy_port_is_an_error(cache: Cache) -> None:
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        await TlsTerminator(cache.terminator.port, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Path).start()


async def test_stopping_the_terminator_cuts_everybody_off(cache: Cache) -> None:
    async with cache.client() as client:
        await client.ping()
        with socket.create_connection(("127.0.0.1", cache.terminator.port)):  # one that never says a word
            await asyncio.sleep(0.1)
            tasks = len(asyncio.all_tasks())
            await cache.terminator.stop()
            assert len(asyncio.all_tasks()) <= tasks - 3
        with pytest.raises(redis.ConnectionError):
            await client.ping()
    await cache.terminator.start()
    assert await cache.ping()


async def test_a_server_is_adopted_when_the_rehearsal_is_killed(tmp_path: Path) -> None:
    program = """
import asyncio, os, pathlib, signal, sys
from rehearsal_cloud.backends.valkey import ValkeyServer
async def main():
    server = ValkeyServer(pathlib.Path(sys.argv[1]))
    await server.create()
    await server.set_keys(["key-of-before"], enabled=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, tmp_path / "valkey"]
    killed = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | {"AZURE_CLIENT_SECRET": "not-for-servers"}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    server = ValkeyServer(tmp_path / "valkey")
    before = server.pids()
    try:
        await server.start()
        assert server.pids() == before
        async with redis.asyncio.Redis(unix_socket_path=str(server.socket), password="key-of-before") as client:
            assert await client.ping()
        process = psutil.Process(before[0])
        assert "AZURE_CLIENT_SECRET" not in process.environ()
        assert os.getsid(process.pid) != os.getsid(0)
        password = (server.folder / "password").read_text()
        for path in server.folder.rglob("*"):
            if path.is_file() and path.name != "password":
                assert not any(secret.encode() in path.read_bytes() for secret in (password, "key-of-before")), path
        assert password not in " ".join(process.cmdline())
    finally:
        await server.destroy()
    assert server.pids() == []
