"""The rehearsal's home: the folder of a rehearsal cloud's data, and its stored settings."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TENANT_ID = "22222222-2222-4222-8222-222222222222"
SUBSCRIPTION_ID = "11111111-1111-4111-8111-111111111111"
OPERATOR_CLIENT_ID = "33333333-3333-4333-8333-333333333333"
OPERATOR_OBJECT_ID = "44444444-4444-4444-8444-444444444444"
OPERATOR_NAME = "rehearsal-operator"
DOCKER_HUB_USER = "rehearsal"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that a rehearsal cloud stores between starts; its ports are chosen once.

    `time_scale` multiplies Azure's typical durations; `replication_seconds` is Entra's replication delay before
    scaling, of a new principal to other services and of any write to Graph's replicas; with `classic_redis` the tenant
    may still create Azure Cache for Redis; without `acr_tasks` registries refuse builds, as in a subscription on free
    credit; with `company_root` the proxy shows certificates of a company's CA; `docker_hub` says how Docker Hub treats
    anonymous imports, and `docker_hub_token` is the token of its account DOCKER_HUB_USER.
    """

    proxy_port: int
    https_port: int
    operator_secret: str
    control_token: str
    time_scale: float = 0.01
    replication_seconds: float = 20.0
    classic_redis: bool = False
    acr_tasks: bool = True
    company_root: bool = False
    docker_hub: str = "open"
    docker_hub_token: str = field(default_factory=lambda: secrets.token_urlsafe(30))

    def scaled(self, seconds: float) -> float:
        """Return Azure's `seconds` multiplied by the time scale."""
        return seconds * self.time_scale

    def waited(self, seconds: float) -> float:
        """Return how long to wait for real programs where Azure waits `seconds`: a second for each minute at least."""
        return max(self.scaled(seconds), seconds / 60)


@dataclass(frozen=True)
class Home:
    """The folder with all data of a rehearsal cloud, private to its user."""

    folder: Path

    @classmethod
    def find(cls, folder: str | None = None) -> Home:
        """Return the home named by `folder`, else by `AIRFLOWAKS_HOME`, else `~/.airflowaks`."""
        chosen = folder or os.environ.get("AIRFLOWAKS_HOME") or "~/.airflowaks"
        return cls(Path(chosen).expanduser().absolute())

    @property
    def database(self) -> Path:
        """Return the SQLite file that holds the cloud's state."""
        return self.folder / "cloud.sqlite"

    @property
    def ca_file(self) -> Path:
        """Return the CA certificate (PEM) that clients trust."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """Return the CA's private key (PEM)."""
        return self.folder / "ca-key.pem"

    @property
    def company_ca_file(self) -> Path:
        """Return the certificate (PEM) of the CA of a company's proxy."""
        return self.folder / "company-ca.pem"

    @property
    def company_ca_key(self) -> Path:
        """Return that CA's private key (PEM)."""
        return self.folder / "company-ca-key.pem"

    def proxy_ca_file(self, settings: Settings) -> Path:
        """Return the CA certificate (PEM) that clients of the proxy trust."""
        return self.company_ca_file if settings.company_root else self.ca_file

    @property
    def services(self) -> Path:
        """Return the parent folder of the PostgreSQL servers and brokers."""
        return self.folder / "services"

    @property
    def log(self) -> Path:
        """Return the daemon's log."""
        return self.folder / "rehearsal.log"

    @property
    def request_log(self) -> Path:
        """Return the log of requests: a JSON object per line, without bodies, tokens or secrets."""
        return self.folder / "requests.jsonl"

    @property
    def connection_log(self) -> Path:
        """Return the log of logins to PostgreSQL servers: a JSON object per line, with the address that they saw."""
        return self.folder / "connections.jsonl"

    @property
    def pid_file(self) -> Path:
        """Return the file that the running daemon locks, with its process ID."""
        return self.folder / "rehearsal.pid"

    @property
    def kubeconfig(self) -> Path:
        """Return the kubeconfig that `env` writes for kubectl."""
        return self.folder / "kubeconfig"

    @property
    def az_folder(self) -> Path:
        """Return the folder where az keeps its sign-in to the rehearsal."""
        return self.folder / "az"

    @property
    def command_lock(self) -> Path:
        """Return the lock file of the commands that start, stop or reset the rehearsal."""
        return self.folder / "command.lock"

    @property
    def _settings_file(self) -> Path:
        return self.folder / "settings.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the commands that start, stop or reset the rehearsal; a second command waits.

        The lock goes where there is no rehearsal in the end, as after a reset, and so does an empty folder. Raises
        OSError.
        """
        with self._lock():
            try:
                yield
            finally:
                with suppress(OSError):  # the next command may have made its lock in the folder
                    if self.settings() is None:
                        self.command_lock.unlink()
                    if not [*self.folder.iterdir()]:
                        self.folder.rmdir()

    def _lock(self) -> IO[str]:
        while True:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The command that held the lock may have deleted the file, and with it what its lock excludes.
            with suppress(FileNotFoundError), ExitStack() as stack:
                lock = stack.enter_context(self.command_lock.open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(lock.fileno()), self.command_lock.stat()):
                    stack.pop_all()
                    return lock

    def clear(self) -> None:
        """Delete all but the lock; the settings last, by which a second reset recognises what a killed one left."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path == self._settings_file):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != self.command_lock:
                path.unlink()

    def settings(self) -> Settings | None:
        """Return the stored settings, or None before the first start."""
        try:
            remembered = json.loads(self._settings_file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        names = {each.name for each in fields(Settings)}
        return Settings(**{name: value for name, value in remembered.items() if name in names})

    @property
    def is_foreign(self) -> bool:
        """Tell whether the folder has files that are no rehearsal's; a reset would delete them."""
        return self.settings() is None and any(path != self.command_lock for path in self.folder.iterdir())

    def prepare(self, **changes: float | bool | str | None) -> Settings:
        """Create missing settings, apply `changes` that are not None, and store them."""
        current = self.settings()
        if current is None:
            proxy_port, https_port = free_ports(2)
            current = Settings(
                proxy_port=proxy_port,
                https_port=https_port,
                operator_secret=secrets.token_urlsafe(30),
                control_token=secrets.token_urlsafe(30),
            )
        chosen = {name: value for name, value in changes.items() if value is not None}
        settings = replace(current, **chosen)  # type: ignore[arg-type]  # the CLI's options carry the fields' own types
        write_private(self._settings_file, json.dumps(asdict(settings), indent=1))
        return settings


def free_ports(count: int) -> list[int]:
    """Return `count` different free loopback ports."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def write_private(path: Path, text: str) -> None:
    """Write `text` atomically, readable only by this user."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
