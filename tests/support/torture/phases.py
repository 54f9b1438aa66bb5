"""The phases of an environment's life, as the cells of the notebooks run them, in a process that can be killed."""

from __future__ import annotations

import atexit
import os
import tempfile
import time
import traceback
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from azure.identity import ClientSecretCredential

from airflowaks.cloud.connection import Connection
from airflowaks.cloud.redaction import Secret
from airflowaks.config.environment import load_environment
from airflowaks.errors import AirflowAksError, CheckFailed, DriftFound
from airflowaks.session import Session
from airflowaks.steps import backend, cluster, key_vault, registry, teardown, volumes, workload_identity
from tests.support.torture.state import delete, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection as Pipe
    from pathlib import Path

NAME = "torture"
_DELETION_SECONDS = 60
STEPS: Any = (cluster, registry, backend, key_vault, workload_identity, volumes)


class _Private(Connection):
    """Trusts the proxy's own root alone: with the public ones, most of a run's time is spent reading certificates."""

    @cached_property
    def ca_file(self) -> str:
        return str(self.ca_bundle)


@dataclass(frozen=True)
class Access:
    """How a run reaches the rehearsal: where its environment is described, through which proxy, and who signs in."""

    folder: Path
    proxy: str
    ca_file: str
    rehearsal: dict[str, str]

    def session(self, mode: Any = "apply") -> Session:
        anonymous = _Private(
            credential=None,  # type: ignore[arg-type]
            proxy=self.proxy,
            ca_bundle=self.ca_file,
            rehearses=True,
        )
        tenant, client, secret = (
            self.rehearsal[f"AZURE_{name}"] for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")
        )
        credential = ClientSecretCredential(tenant, client, secret, **anonymous.transport)
        signed_in = replace(anonymous, credential=credential, secrets=(Secret(secret),))
        return Session(load_environment(NAME), mode, signed_in)


@dataclass(frozen=True)
class Phase:
    """A part of a step, or a run of all of them.

    After a disturbed run `act` runs again, or `heal` in its place. A phase that `makes` something is undone after each
    case. A `tunnelled` one reaches the backend through the cluster. One that `rewrites` has its writes disturbed even
    where another phase sends such, too.
    """

    name: str
    act: Callable[[Session], Any]
    mode: str = "apply"
    makes: bool = False
    tunnelled: bool = False
    rewrites: bool = False
    heal: Callable[[Session], Any] | None = None

    def __str__(self) -> str:
        return self.name


def _checks(*steps: Any) -> Callable[[Session], None]:
    def check(session: Session) -> None:
        for step in steps:
            if failed := step.checks(session).failed:
                seen = "; ".join(f"{each.name}: {each.seen}" for each in failed)
                raise CheckFailed(seen, failed[0].action)

    return check


def _deploy(session: Session) -> None:
    for step in STEPS:
        step.everything(session)


def _check(session: Session) -> None:
    # Without the dag-processor of step 7 nobody can tell which DAG files are on the share.
    parts = [*(step.everything for step in STEPS if step is not volumes), volumes.storage]
    pending = [f"{change.kind} {change.name}" for part in parts for change in part(session).pending]
    if pending:
        raise DriftFound(f"would change: {', '.join(pending)}", "Run the notebook with mode=apply.")


def _rotate(session: Session) -> None:
    for secret in (key_vault.SQL_CONNECTION, key_vault.BROKER_URL, key_vault.FERNET_KEY):
        key_vault.rotate(session, secret)


def _heal_rotation(session: Session) -> None:
    key_vault.everything(session)
    _checks(key_vault)(session)


def _tear_down(session: Session) -> None:
    teardown.everything(session, confirm=NAME, purge=True)
    _checks(teardown)(session)


def _cells(step: Any, *names: str) -> list[Phase]:
    title = step.__name__.rpartition(".")[2]
    parts = [Phase(f"{title}.{name}", getattr(step, name), makes=True) for name in names]
    return [*parts, Phase(f"{title}.checks", _checks(step))]


PHASES = (
    *_cells(cluster, "providers", "resource_group", "groups", "sign_in", "identity", "cluster", "access", "namespace"),
    *_cells(registry, "everything"),  # an image is in its registry, and goes with it
    *_cells(backend, "servers", "database"),
    *_cells(key_vault, "vault", "secrets"),
    *_cells(workload_identity, "identity", "federation", "service_accounts"),
    *_cells(volumes, "storage", "push_dags"),
    Phase("again", _deploy),
    Phase("check", _check, mode="check"),
    Phase("rotate", _rotate, heal=_heal_rotation, rewrites=True),
    Phase("tunnel", _checks(backend, key_vault), tunnelled=True),
    Phase("teardown", _tear_down),
)


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    error: str = ""
    """Its error: the class, then the two lines."""
    state: tuple[str, ...] = ()
    """The labels of all that exists."""
    cpu: float = 0
    left: tuple[str, ...] = ()
    """Temporary files that the run left."""


def run(access: Access, work: Any, temporary: Path, pipe: Pipe) -> None:
    """Be the process of a run: do `work`, write to stderr as a terminal would show it, send the outcome, and end."""
    os.chdir(access.folder)
    with (temporary / "stderr").open("w") as stderr:
        os.dup2(stderr.fileno(), 2)
    scratch = temporary / "tmp"
    scratch.mkdir()
    tempfile.tempdir = str(scratch)
    try:
        outcome = work(access)
    except AirflowAksError as error:
        outcome = Outcome(f"{type(error).__name__}\n{error.message}\n{error.action}")
    except Exception as error:  # noqa: BLE001 - the sweep's finding
        outcome = Outcome(f"Unexpected\n{''.join(traceback.format_exception(error))}")
    atexit._run_exitfuncs()
    pipe.send(replace(outcome, cpu=time.process_time(), left=tuple(sorted(path.name for path in scratch.iterdir()))))


@dataclass(frozen=True)
class Act:
    """Run a phase in a session of its own."""

    name: str
    healing: bool = False

    def __call__(self, access: Access) -> Outcome:
        (phase,) = (phase for phase in PHASES if phase.name == self.name)
        session = access.session(phase.mode)
        try:
            ((phase.heal if self.healing else None) or phase.act)(session)
        finally:
            session.close()
        return Outcome()


@dataclass(frozen=True)
class Look:
    """Return the state, and then delete what `keep` does not name, where that is set."""

    keep: tuple[str, ...] | None = None

    def __call__(self, access: Access) -> Outcome:
        deadline, outcome = time.monotonic() + _DELETION_SECONDS, None
        while True:
            session = access.session()
            entries = state(session)
            outcome = outcome or Outcome(state=tuple(sorted(entry.label for entry in entries)))
            more = [entry for entry in entries if self.keep is not None and entry.label not in self.keep]
            if not more:
                return outcome
            assert time.monotonic() < deadline, more
            delete(session, more)
