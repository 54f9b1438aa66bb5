"""A DAG whose airflow file breaks."""

from airflow.sdk import dag, task


@dag(schedule=None)
def broken() -> None:
    @task(queue="nobody")
    def waits() -> None:
        """Stay in the queue."""

    waits()


broken()
