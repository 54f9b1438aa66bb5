"""DAGs of an airflow file that changes: one loses a task, one goes."""

from airflow.sdk import dag, task


@dag(schedule=None)
def trimmed() -> None:
    @task(queue="nobody")
    def waits() -> None:
        """Stay in the queue."""

    @task(queue="nobody")
    def extra() -> None:
        """Be removed."""

    waits() >> extra()


@dag(schedule=None)
def gone() -> None:
    @task(queue="nobody")
    def waits() -> None:
        """Stay in the queue."""

    @task
    def follows() -> None:
        """Never be scheduled."""

    waits() >> follows()


trimmed()
gone()
