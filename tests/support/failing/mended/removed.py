"""An airflow file whose dag is back."""

from airflow.sdk import dag, task


@dag(schedule=None)
def removed() -> None:
    task(task_id="work")(lambda: None)()


removed()
