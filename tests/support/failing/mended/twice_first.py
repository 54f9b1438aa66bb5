"""The only airflow file with its dag now."""

from airflow.sdk import dag, task


@dag(schedule=None)
def twice() -> None:
    task(task_id="first")(lambda: None)()


twice()
