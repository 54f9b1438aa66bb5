"""The DAGs that step 7 proves a deployment with: scheduled, queued, run by workers, a log read back."""

from airflow.sdk import Param, dag, task


@dag(schedule=None, tags=["airflowaks"])
def smoke() -> None:
    """Run one task, whenever somebody asks for it."""

    @task
    def report() -> str:
        """Say where this runs, in the line that the check looks for."""
        import platform

        where = f"Python {platform.python_version()} on {platform.node()}"
        print(f"smoke: {where}")
        return where

    report()


@dag(schedule=None, tags=["airflowaks"], max_active_tasks=1000, params={"tasks": Param(200, type="integer")})
def load() -> None:
    """Run many short tasks at once, so that workers come and go."""

    @task
    def numbers(params: dict | None = None) -> list[int]:
        """Return a number for each task."""
        return list(range(params["tasks"]))

    @task
    def work(number: int) -> None:
        """Say which task this is."""
        print(f"load: task {number}")

    work.expand(number=numbers())


smoke()
load()
