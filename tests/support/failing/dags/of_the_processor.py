"""An airflow file whose dag imports what the worker does not have."""

import sys

from airflow.sdk import dag, task

if "worker" in sys.argv:
    import only_in_the_dag_processor  # noqa: F401


@dag(schedule=None)
def early_import() -> None:
    task(task_id="work")(lambda: None)()


early_import()
