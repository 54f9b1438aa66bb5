"""Moves Celery's results out of Airflow's database, where they were before Celery had a database of its own.

`look` says whether results are left there; `copy` copies those of the last day, after which Celery calls a result
expired; `move` copies them and drops the tables. Only final states are copied: the executor waits for no other. Run in
a scheduler's pod, which knows both databases.
"""

import os
import sys
from contextlib import closing

import psycopg2
from psycopg2.extras import execute_values

_FOUND = "SELECT to_regclass('celery_taskmeta') IS NOT NULL"
# Celery writes UTC into a column without a time zone.
_FINAL = """
    SELECT task_id, status, result, date_done, traceback FROM celery_taskmeta
    WHERE status IN ('SUCCESS', 'FAILURE', 'REVOKED') AND date_done > now() AT TIME ZONE 'utc' - interval '1 day'
"""
_COPY = """
    INSERT INTO celery_taskmeta (id, task_id, status, result, date_done, traceback) VALUES %s
    ON CONFLICT (task_id) DO NOTHING
"""
_ROW = "(nextval('task_id_sequence'), %s, %s, %s, %s, %s)"
_DROP = """
    DROP TABLE celery_taskmeta; DROP TABLE IF EXISTS celery_tasksetmeta;
    DROP SEQUENCE IF EXISTS task_id_sequence, taskset_id_sequence
"""


def connect(variable: str) -> "psycopg2.extensions.connection":
    """Connect to the database of a URL in the environment."""
    return psycopg2.connect(os.environ[variable].replace("db+", "", 1).replace("+psycopg2", "", 1))


def run(action: str) -> None:
    """Look, copy or move. Until step 4 has run, both URLs lead to the same database, and nothing is left."""
    with (
        closing(connect("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")) as metadata,
        closing(connect("AIRFLOW__CELERY__RESULT_BACKEND")) as results,
        metadata.cursor() as source,
        results.cursor() as target,
    ):
        source.execute(_FOUND)
        if metadata.info.dbname == results.info.dbname or source.fetchone() != (True,):
            return
        if action == "look":
            print("left")
            return
        if action == "move":
            source.execute("LOCK TABLE celery_taskmeta")
        source.execute(_FINAL)
        execute_values(target, _COPY, source.fetchall(), _ROW)
        results.commit()
        if action == "move":
            source.execute(_DROP)
            metadata.commit()


if __name__ == "__main__":
    run(sys.argv[1])
