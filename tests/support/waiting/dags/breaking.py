"""A DAG whose airflow file breaks."""

from datetime import UTC, datetime

from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2999, 1, 1, tzinfo=UTC))
def broken() -> None:
    @task
    def work() -> None:
        """Do nothing."""

    work()


broken()
