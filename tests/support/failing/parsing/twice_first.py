"""The first airflow file of two with the same dag."""

from airflow.sdk import dag, task


@dag(schedule=None)
def twice() -> None:
    task(task_id="first")(lambda: None)()


twice()
