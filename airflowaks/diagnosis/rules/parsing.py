"""DAG processing: files that cannot be read to their end, are read too rarely, define a DAG twice or are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.rules.rule import NOTE, WARNING, Cause, Section
from airflowaks.diagnosis.waiting.reason import beats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_DOCS = "https://airflow.apache.org/docs/apache-airflow/stable/"
_RARE_SECONDS, _INTERVALS = 300.0, 5
IMPORT_TIMEOUT = "DagBag import timeout"
"""`airflow/dag_processing/importers/python_importer.py`; `[core] dagbag_import_timeout` is 30 seconds by default."""
PARSING = Section("log", link=f"{_DOCS}administration-and-deployment/dagfile-processing.html")


@PARSING.rule("AKA-731", WARNING, effects=("AKA-732", "AKA-905", "AKA-907"))
def _file_is_not_read_to_its_end(facts: Snapshot) -> Iterable[Cause]:
    parsing, errors = facts.airflow.parsing, facts.airflow.import_errors
    for name, file in parsing.files.items():
        failed = file.errors and name not in errors
        table = f"file {name}: no DAG, no import error after {file.seconds:.0f} s"
        timed_out = failed and (name in parsing.killed or file.seconds >= parsing.timeout)
        if timed_out or file.reading > parsing.timeout / 2:
            yield Cause(
                f"The file {name} takes longer to read than the dag-processor waits ({parsing.timeout:.0f} s,"
                " dag_file_processor_timeout): it hangs, or does too much.",
                "Do nothing slow at the top level of the file: no query, no request, no loop without an end; then run"
                " step 6. Until it is read to its end, its DAGs are stale: no run of them starts or goes on.",
                [
                    *([f"file {name}: being read for {file.reading:.0f} s"] if file.reading else []),
                    *([table] if failed else []),
                    *([f"its process {parsing.killed[name]}"] if name in parsing.killed else []),
                ],
            )
        elif failed:
            yield Cause(
                f"The process that reads the file {name} ends before it is done: it is killed, or ends itself.",
                "Raise `airflow.dag_processor.memory` if the file needs much, or take out what ends the process"
                " (os._exit, a library that crashes), and run step 6.",
                [table],
            )
    for name, error in errors.items():
        if IMPORT_TIMEOUT in error:
            yield Cause(
                f"The file {name} takes longer to import than Airflow waits (dagbag_import_timeout).",
                "Do nothing slow at the top level of the file: no query, no request, no loop without an end; then run"
                " step 6.",
                [f"{name}: {error}"],
            )


@PARSING.rule("AKA-732", WARNING)
def _files_are_parsed_too_rarely(facts: Snapshot) -> Iterable[Cause]:
    parsing = facts.airflow.parsing
    limit = max(_RARE_SECONDS, _INTERVALS * parsing.interval)
    unread = {name for name, file in parsing.files.items() if file.errors or file.reading}
    late = {name: age for name, age in parsing.ages.items() if age > limit and name not in unread}
    if late and beats(facts, "DagProcessorJob"):
        slowest = ", ".join(f"{name} ({seconds:.1f} s)" for name, seconds in parsing.slowest.items())
        round_ = f"{parsing.count} files with {parsing.dags} DAGs take {parsing.total:.0f} s"
        yield Cause(
            f"DAG files are parsed too rarely: the last time {duration(max(late.values()))} ago, not every"
            f" {parsing.interval:.0f} s.",
            "Raise `airflow.dag_processor.cpu`, and AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES with it, and have the"
            " slowest files do less at their top level.",
            [
                f"{round_}, shared by {parsing.processes} processes",
                f"the slowest: {slowest}",
                *(f"file {name}: parsed {duration(age)} ago" for name, age in late.items()),
            ],
            frozenset({"dag-processor"}),
        )


@PARSING.rule("AKA-733", WARNING)
def _dag_is_defined_twice(facts: Snapshot) -> Iterable[Cause]:
    parsing = facts.airflow.parsing
    moved = {dag: names for dag, paths in parsing.moved.items() if len(names := _present(paths, parsing.files)) > 1}
    told = {name for names in moved.values() for name in names}
    for dag, names in moved.items():
        yield _twice(f"DAG {dag} is defined in {len(names)} files", [f"file {name}" for name in names])
    for name, file in parsing.files.items():
        if file.defined > file.stored and not file.errors and name not in told:
            evidence = f"file {name}: DAGs that it defines: {file.defined}, that Airflow has of it: {file.stored}"
            yield _twice(f"A DAG of the file {name} has the ID of a DAG in another file", [evidence])


def _present(paths: Iterable[str], files: Iterable[str]) -> list[str]:
    """Return which files the paths are: a path of before, as of a file that was renamed, is none, or one of them."""
    names = ([name for name in files if path.endswith(f"/{name}")] for path in paths)
    return sorted({max(matching, key=len) for matching in names if matching})


def _twice(sentence: str, evidence: list[str]) -> Cause:
    return Cause(
        f"{sentence}: each replaces the other whenever it is parsed.",
        "Give each DAG an ID of its own, or remove a file, and run step 6.",
        evidence,
    )


@PARSING.rule("AKA-734", NOTE)
def _file_is_gone(facts: Snapshot) -> Iterable[Cause]:
    parsing = facts.airflow.parsing
    gone = {dag: file for dag, file in parsing.gone.items() if file not in parsing.unread}
    count = f"{len(gone)} DAG{'s are' if len(gone) > 1 else ' is'}"
    yield Cause(
        f"{count} stale: the file was removed, or does not define it any more.",
        "Restore the file and run step 6. Deleting the DAG in Airflow's web pages deletes all of its runs.",
        [f"DAG {dag}: file {file}" for dag, file in gone.items()],
    )
