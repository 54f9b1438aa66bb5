"""Run records: what the executed notebooks under `runs/` say about themselves, listed and compared.

A record is a notebook that `airflowaks.notebook.run` has run, to its end or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import CHANGES_MIME, Action
from airflowaks.engine.checks import CHECKS_MIME
from airflowaks.engine.table import Table
from airflowaks.engine.waits import WAITS_MIME
from airflowaks.errors import InvalidParameter
from airflowaks.notebook.provenance import RUN_MIME, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDER = Path("runs")
_SHORT_COMMIT = 9
_TO_THE_MINUTE = len("2026-01-31T12:00")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One executed notebook; `ended` is empty where it did not come to its end, `failure` where it met no error."""

    path: Path
    provenance: Provenance
    ended: str = ""
    failure: str = ""
    changes: Sequence[Mapping[str, Any]] = field(default=())
    checks: Sequence[Mapping[str, Any]] = field(default=())
    waits: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def outcome(self) -> str:
        """Return how it ended."""
        return f"failed: {self.failure}" if self.failure else "done" if self.ended else "not finished"

    def changes_summary(self) -> str:
        """Return how many resources were changed, would be changed, are up to date, were left, and were not read."""
        made = sum(change["applied"] for change in self.changes)
        left = sum(map(_is_pending, self.changes))
        rest = {Action.NONE: "up to date", Action.KEEP: "adopted and left", Action.UNREAD: "not read"}
        counts = [(made, "changed"), (left, "to change")]
        counts += [(sum(change["action"] == action for change in self.changes), what) for action, what in rest.items()]
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "no changes"

    def checks_summary(self) -> str:
        """Return how many checks passed."""
        passed = sum(check["passed"] is True for check in self.checks)
        return f"{passed} of {len(self.checks)} checks passed" if self.checks else "no checks"

    def facts(self) -> dict[str, str]:
        """Return what two records are compared by: each thing that it says, under a name of its own."""
        facts = {
            (f"{name} {part}" if part else name): str(value)
            for name, outer in self.provenance.record().items()
            if name != "started"
            for part, value in (outer.items() if isinstance(outer, dict) else [("", outer)])
        }
        facts |= {f"change of {change['kind']} {change['name']}": _change(change) for change in self.changes}
        verdicts = {True: "passed", False: "FAILED", None: "not run"}
        facts |= {f"check {check['name']}": verdicts[check["passed"]] for check in self.checks}
        return facts | {"outcome": self.outcome}


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        InvalidParameter: there is no such file, or it is not the record of a run.

    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat's lacks them
        outputs = [list(cell.get("outputs", ())) for cell in notebook.cells]
        runs = list(_shown(outputs, RUN_MIME))
        if runs:
            record = _record(path, outputs, runs)
            record.facts()  # what is missing is found out here
            return record
        reason = _failure(outputs) or "no run was started in it."
    except OSError as error:
        reason = f"{str(error.strerror).lower()}."
    except Exception:  # noqa: BLE001 - a file that others made may be anything
        reason = "it is no notebook, or it was changed by hand."
    raise InvalidParameter(
        f"{path} is not the record of a run: {reason.splitlines()[0]}",
        "Give the path of a notebook that papermill has executed, such as runs/dev.ipynb.",
    )


def list_runs(folder: Path = FOLDER) -> Table:
    """Return a table of the records in `folder`, the newest first; files that are not records are named below it.

    Times are UTC; a commit with an asterisk had changes beside it. Before the first run there is no folder `runs`.
    Raises InvalidParameter where another folder does not exist.
    """
    if folder != FOLDER and not folder.is_dir():
        message = f"{folder} is no folder."
        raise InvalidParameter(message, "Give the folder of the records, such as runs.")
    records, others = [], []
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        try:
            records.append(read_record(path))
        except InvalidParameter as error:
            others.append(error.message)
    records.sort(key=lambda record: record.provenance.started, reverse=True)
    rows = [(record.path.relative_to(folder).as_posix(), *_row(record)) for record in records]
    columns = ("record", "started", "run", "operator, commit", "changes, checks", "outcome")
    count = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
    return Table(columns, rows, note="\n".join([f"{count} in {folder}.", *others]))


def show_run(path: Path) -> Table:
    """Return everything that one record says. Raises InvalidParameter."""
    record = read_record(path)
    rows = [*record.facts().items(), ("started", record.provenance.started), ("ended", record.ended)]
    note = f"{record.changes_summary()}; {record.checks_summary()}"
    return Table(("", ""), rows, str(path), note)


def compare(a: Path, b: Path) -> Table:
    """Return a table of what differs between two records, times and durations aside. Raises InvalidParameter."""
    ours, theirs = read_record(a).facts(), read_record(b).facts()
    both = ((name, ours.get(name, "(none)"), theirs.get(name, "(none)")) for name in {**ours, **theirs})
    rows = [row for row in both if row[1] != row[2]]
    return Table(("", str(a), str(b)), rows, note="" if rows else f"{a} and {b} say the same.")


def _row(record: RunRecord) -> tuple[str, ...]:
    origin = record.provenance
    commit = origin.commit[:_SHORT_COMMIT] + "*" * origin.dirty
    return (
        origin.started[:_TO_THE_MINUTE].replace("T", " "),
        f"{origin.notebook}\n{origin.mode} {origin.environment}",
        f"{origin.operator}\n{commit}",
        f"{record.changes_summary()}\n{record.checks_summary()}",
        f"failed: {record.failure.partition(':')[0]}" if record.failure else record.outcome,
    )


def _record(path: Path, outputs: Sequence[Sequence[Any]], runs: Sequence[Mapping[str, Any]]) -> RunRecord:
    # The closing cell holds all changes and checks once more; without it they are those that the cells show.
    closing = [cell for cell in outputs if any("ended" in run for run in _shown([cell], RUN_MIME))][-1:]
    return RunRecord(
        path=path,
        provenance=Provenance(**{field.name: runs[-1][field.name] for field in fields(Provenance)}),
        ended=str(runs[-1].get("ended", "")),
        failure=_failure(outputs),
        changes=[change for shown in _shown(closing or outputs, CHANGES_MIME) for change in shown],
        checks=[check for shown in _shown(closing or outputs, CHECKS_MIME) for check in shown],
        waits=[wait for shown in _shown(closing, WAITS_MIME) for wait in shown],
    )


def _failure(cells: Sequence[Sequence[Any]]) -> str:
    errors = [f"{output.ename}: {output.evalue}" for cell in cells for output in cell if output.output_type == "error"]
    return errors[-1] if errors else ""


def _shown(cells: Sequence[Sequence[Any]], mime: str) -> Iterator[Any]:
    return (output.data[mime] for cell in cells for output in cell if mime in output.get("data", ()))


def _is_pending(change: Mapping[str, Any]) -> bool:
    return not change["applied"] and change["action"] in (Action.CREATE, Action.UPDATE, Action.DELETE)


def _change(change: Mapping[str, Any]) -> str:
    differences = [
        f"{difference['path']}: {difference['before']} → {difference['after']}" for difference in change["differences"]
    ]
    # What a new resource has is not worth a line each: nothing of it was there before.
    told = "; ".join(differences) if change["action"] == Action.UPDATE else ""
    return f"{change['action']}{' (not applied)' if _is_pending(change) else ''} {told}".strip()
