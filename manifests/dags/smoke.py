"""The DAG that step 7 proves a deployment with: scheduled, queued, run by a worker, its log read back."""

from airflow.sdk import dag, task


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


smoke()
