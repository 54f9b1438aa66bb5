"""A run of a notebook: its provenance, the redaction of its output, its confirmation and its closing tables.

run = start("03_backend", env=env, mode=mode)    # first cell
servers(run.session)                             # step functions
run.close()                                      # last cell
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, get_type_hints

from IPython.core.error import StdinNotImplementedError
from IPython.core.getipython import get_ipython
from IPython.display import display

from airflowaks.engine.changes import Changes
from airflowaks.engine.checks import Checks
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table, Tabular
from airflowaks.engine.times import timestamp
from airflowaks.engine.waits import Waits
from airflowaks.errors import CheckFailed, DriftFound, NotConfirmed, Unexpected
from airflowaks.notebook.parameters import check_parameters
from airflowaks.notebook.progress import NotebookDisplay
from airflowaks.notebook.provenance import RUN_MIME, provenance
from airflowaks.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.display_functions import DisplayHandle

    from airflowaks.cloud.redaction import Redactor
    from airflowaks.engine.changes import Change
    from airflowaks.notebook.provenance import Provenance
    from airflowaks.session import Session

_CHANGES = "All changes"


class Run(Tabular):
    """One run of a notebook: its session and its provenance; displays as the provenance.

    It is `attended` if a person runs the notebook, who can answer questions and press buttons.
    """

    def __init__(self, session: Session, origin: Provenance, *, attended: bool) -> None:
        self.session = session
        self.results = session.memoize(Results)
        self.provenance = origin
        self.attended = attended
        self._started = time.monotonic()
        self._shown: DisplayHandle | None = None

    def table(self, title: str = "") -> Table:
        """Return the table of the provenance."""
        return self.provenance.table(title)

    def add(self, changes: Iterable[Change]) -> None:
        """Add changes that a button has made, also to the table that `close` has shown, which the record keeps."""
        self.results.changes.extend(changes)
        if self._shown:
            self._shown.update(Changes(self.results.changes).table(_CHANGES))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Show every change and check of the run, and raise an error for drift or a failed check.

        Raises:
            DriftFound: the mode is check, and something would change.
            CheckFailed: a check failed.

        """
        self.session.close()
        changes, checks = Changes(self.results.changes), Checks(self.results.checks)
        waits = [Waits(self.results.waits).table("All waits")] if self.results.waits else []
        took = f"{self.provenance.notebook} took {time.monotonic() - self._started:.0f} s in mode {self.session.mode}."
        ended = {RUN_MIME: self.provenance.record() | {"ended": timestamp()}}
        self._shown = display(changes.table(_CHANGES), display_id=True)  # type: ignore[no-untyped-call]
        display(  # type: ignore[no-untyped-call]  # IPython's lacks them
            checks.table("All checks"),
            *waits,
            Table((), (), note=took, data=ended),
        )
        if self.session.mode == "check" and changes.pending:
            names = ", ".join(f"{change.kind} {change.name} ({change.action})" for change in changes.pending)
            message = (
                f"{len(changes.pending)} of {len(changes)} would change in {self.provenance.environment}: {names}."
            )
            raise DriftFound(message, "Run the notebook with mode=apply, or change the environment file to match.")
        if checks.failed:
            names = "; ".join(f"{check.name}: {check.seen}" for check in checks.failed)
            action = checks.failed[0].action or "Fix what the check names, then run the notebook again."
            raise CheckFailed(f"{len(checks.failed)} of {len(checks)} checks failed: {names}", action)


def start(notebook: str, *, env: str, mode: str, **parameters: Any) -> Run:
    """Begin a run of `notebook` with all of its parameters, and return it.

    From then on the kernel masks every secret that the session knows in all messages to a frontend: output, results,
    errors. An apply to Azure asks an attending person for confirmation. Headless it asks nothing: whoever set `env`,
    which is `local` by default, has named the environment.

    Raises:
        InvalidParameter: a parameter does not exist or has an invalid value.
        InvalidEnvironment: the environment does not exist or is invalid.
        RehearsalUnavailable: the rehearsal cloud did not start.
        SignInFailed: the operator is not signed in.
        NotConfirmed: the operator did not confirm.

    """
    shell = _kernel_shell()
    values = {"env": env, "mode": mode, **parameters}
    kinds = get_type_hints(shell.user_module)
    check_parameters(notebook, values, cells=shell.user_ns["In"], kinds=kinds)
    options: Any = {name: values.get(name, "") for name in ("operator_address", "image", "component")}
    session = open_session(env, mode, **options, waits=bool(values.get("wait")))
    _redact_messages(shell, session.redactor)
    session.memoize(Results).display = NotebookDisplay()
    run = Run(session, provenance(notebook, session, values), attended=_is_attended(shell))
    _confirm(session)
    return run


def _kernel_shell() -> ZMQInteractiveShell:
    shell: Any = get_ipython()
    if not hasattr(shell, "kernel"):
        action = (
            "Open the notebook in JupyterLab or run it with papermill; programs call airflowaks.session.open_session."
        )
        raise Unexpected("A notebook was started outside of a Jupyter kernel.", action)
    kernel_shell: ZMQInteractiveShell = shell
    return kernel_shell


def _is_attended(shell: ZMQInteractiveShell) -> bool:
    """Tell whether who ran the cell can be asked: JupyterLab says so of every cell, papermill and nbval never do."""
    request: Any = shell.get_parent()  # type: ignore[no-untyped-call]  # ipykernel's lacks them
    return bool(request["content"].get("allow_stdin"))


def _confirm(session: Session) -> None:
    environment = session.environment
    if environment.is_local or not session.applies:
        return
    question = (
        f"This creates and changes what costs money in subscription {environment.subscription_id},"
        f" resource group {environment.resource_group}, as {session.operator.name}."
        f" Type {environment.name} to go on:"
    )
    try:
        answer = input(question)
    except StdinNotImplementedError:
        return
    if answer.strip() != environment.name:
        action = f'Run the cell again and type {environment.name}, or see with mode = "plan" what would be done.'
        raise NotConfirmed(f"The apply to {environment.name} was not confirmed; nothing was changed.", action)


def _redact_messages(shell: ZMQInteractiveShell, redactor: Redactor) -> None:
    """Mask what `redactor` knows in every message that the kernel sends: streams, results, errors and replies alike."""
    jupyter: Any = shell.kernel.session
    if not isinstance(jupyter.pack, _RedactingPacker):
        jupyter.pack = _RedactingPacker(jupyter.pack)
    jupyter.pack.redactors.append(redactor)


class _RedactingPacker:
    """Serializes Jupyter's messages as `pack` does, without the secrets that `redactors` know."""

    def __init__(self, pack: Callable[[Any], bytes]) -> None:
        self._pack = pack
        # One for each run in this kernel: what an earlier one has read is no less secret now.
        self.redactors: list[Redactor] = []

    def __call__(self, message: Any) -> bytes:
        for redactor in self.redactors:
            message = redactor.redact_all(message)
        return self._pack(message)
