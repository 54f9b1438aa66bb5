"""Reads how the dag-processor reads DAG files: its own table in its log, and the metadata database."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.facts.parsing import DagFile, Parsing
from airflowaks.diagnosis.readers.backend import opened_database
from airflowaks.diagnosis.readers.kubernetes import reachable
from airflowaks.diagnosis.readers.shared import shared
from airflowaks.diagnosis.readers.waiting import number, settings
from airflowaks.kube.kubelet import read_log
from airflowaks.steps.api_server import ready_pods

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.session import Session

_LINES, _MOST_FILES, _MOST_DAGS = 5000, 20, 1000
# `DagFileProcessorManager._log_file_processing_stats` and `_kill_timed_out_processors` write these every 30 seconds:
# `airflow/dag_processing/manager.py` of 3.3.
_TABLE, _RULER = "DAG File Processing Stats", re.compile(r"^-+( +-+){7} *$")
_KILLED = re.compile(r"Processor for .*?rel_path=\w+\('(?P<file>[^']+)'\).* (?P<how>has been running .*Killing it!)")

_TOTALS = """
SELECT count(*)::int AS count, coalesce(sum(dags), 0)::int AS dags, coalesce(sum(seconds), 0)::float AS total
FROM (SELECT count(*) AS dags, max(last_parse_duration) AS seconds FROM dag
      WHERE NOT is_stale GROUP BY relative_fileloc) AS files
"""

_FILES = """
SELECT relative_fileloc AS file, extract(epoch FROM now() - min(last_parsed_time))::float AS age,
       coalesce(max(last_parse_duration), 0)::float AS seconds
FROM dag WHERE NOT is_stale AND NOT has_import_errors AND relative_fileloc IS NOT NULL AND last_parsed_time IS NOT NULL
GROUP BY 1 ORDER BY CASE WHEN %(slowest)s THEN max(last_parse_duration)
                         ELSE extract(epoch FROM now() - min(last_parsed_time)) END DESC NULLS LAST LIMIT %(most)s
"""

_STORED = """
SELECT relative_fileloc AS file, count(*)::int AS stored, to_char(max(last_parsed_time) AT TIME ZONE 'UTC',
       'YYYY-MM-DD"T"HH24:MI:SS') AS parsed
FROM dag WHERE relative_fileloc = ANY(%(files)s) GROUP BY 1
"""

_MOVED = """
SELECT dag_id AS dag, array_agg(DISTINCT fileloc) AS files FROM dag_code
WHERE last_updated >= now() - interval '10 minutes' GROUP BY 1 HAVING count(DISTINCT fileloc) > 1 LIMIT %(most)s
"""
"""A DAG that two files define gets a new version from each in turn, once it has run: `SerializedDagModel.write_dag`."""

_GONE = """
SELECT dag_id AS dag, coalesce(relative_fileloc, fileloc) AS file FROM dag
WHERE is_stale AND NOT is_paused AND NOT has_import_errors AND last_parsed_time >= %(since)s
ORDER BY last_parsed_time DESC LIMIT %(most)s
"""


def parsing(session: Session, scope: Scope) -> dict[str, Any]:
    """Read the dag-processor's table, and of which files Airflow has DAGs. Raises CheckFailed without the pod."""
    kube = reachable(session)
    log = read_log(kube, ready_pods(session, "dag-processor")[0], "dag-processor", lines=_LINES, since=scope.start)
    files = dict(_table(log.splitlines()))
    killed = {match["file"]: match["how"] for match in _KILLED.finditer(log)}
    database = shared(session, opened_database)
    (totals,) = database.rows(_TOTALS)
    oldest = database.rows(_FILES, slowest=False, most=_MOST_FILES)
    slowest = database.rows(_FILES, slowest=True, most=3)
    for row in database.rows(_STORED, files=list(files)):
        files[row["file"]] = _stored(files[row["file"]], row["stored"], row["parsed"] or "")
    moved = database.rows(_MOVED, most=_MOST_FILES)
    gone = database.rows(_GONE, since=scope.since, most=_MOST_DAGS)
    configured = shared(session, settings, scope)
    facts = Parsing(
        files=files,
        killed=killed,
        ages={row["file"]: row["age"] for row in oldest},
        slowest={row["file"]: row["seconds"] for row in slowest},
        moved={row["dag"]: tuple(row["files"]) for row in moved},
        gone={row["dag"]: row["file"] for row in gone},
        interval=number(configured, "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", Parsing.interval),
        processes=int(number(configured, "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES", Parsing.processes)),
        timeout=number(configured, "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT", Parsing.timeout),
        **totals,
    )
    return {"parsing": facts}


def _table(lines: list[str]) -> Iterator[tuple[str, DagFile]]:
    """Yield the rows of the last table in the log; its ruler tells where the columns are."""
    starts = [number for number, line in enumerate(lines) if _TABLE in line]
    rows = lines[starts[-1] :] if starts else []
    ruler = next((number for number, line in enumerate(rows) if _RULER.match(line)), None)
    if ruler is None:
        return
    columns = [match.span() for match in re.finditer("-+", rows[ruler])]
    for row in rows[ruler + 1 :]:
        if row.startswith("==="):
            return
        _, file, _, reading, defined, errors, seconds, at = [row[start:end].strip() for start, end in columns]
        yield file, DagFile(int(defined or 0), int(errors or 0), _seconds(seconds), _seconds(reading), at=at)


def _stored(file: DagFile, stored: int, parsed: str) -> DagFile:
    """Return the file with how many DAGs are stored; the table is half a minute old, and a file was mended since."""
    mended = parsed > file.at
    return replace(file, stored=stored, errors=0 if mended else file.errors, reading=0 if mended else file.reading)


def _seconds(text: str) -> float:
    return float(text.removesuffix("s") or 0)
