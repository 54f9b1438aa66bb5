"""The airflow file after its change."""

from airflow.sdk import dag, task


@dag(schedule=None)
def trimmed() -> None:
    @task(queue="nobody")
    def waits() -> None:
        """Stay in the queue."""

    waits()


trimmed()
