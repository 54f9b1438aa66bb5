"""DAGs that do not run, each for another reason. What is in the queue `nobody` stays there: no worker consumes it."""

from datetime import UTC, datetime, timedelta

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import Asset, BaseSensorOperator, dag, task

NOBODY = "nobody"
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)


@task
def work(*_: object) -> None:
    """Do nothing."""


waits = work.override(task_id="waits", queue=NOBODY)


class Never(BaseSensorOperator):
    """A sensor whose file never comes."""

    def poke(self, context: object) -> bool:
        del context
        return False


@dag(schedule=None)
def halted() -> None:
    work()


@dag(schedule="@daily", start_date=datetime(2999, 1, 1, tzinfo=UTC))
def later() -> None:
    work()


@dag(schedule="@daily", start_date=BEGIN, end_date=END, catchup=False)
def over() -> None:
    work()


@dag(schedule=[Asset("s3://orders/never")])
def by_asset() -> None:
    work()


@dag(schedule=None)
def by_hand() -> None:
    work()


@dag(schedule=None, max_active_runs=1)
def one_run() -> None:
    waits() >> work()


@dag(schedule=None)
def past() -> None:
    waits.override(depends_on_past=True)()


@dag(schedule=None)
def past_downstream() -> None:
    work.override(wait_for_downstream=True)() >> waits()


@dag(schedule=None)
def upstream() -> None:
    @task
    def breaks() -> None:
        raise RuntimeError("no such table: orders")

    @task
    def skips() -> None:
        raise AirflowSkipException

    breaks() >> work.override(task_id="after_failed")()
    skips() >> work.override(task_id="after_skipped")()
    waits() >> work.override(task_id="after_waiting", trigger_rule="all_done")()


@dag(schedule=None)
def after_its_end() -> None:
    waits()
    work.override(end_date=END)()


@dag(schedule=None)
def no_pool() -> None:
    work.override(pool="none_such")()


@dag(schedule=None)
def takes_pool() -> None:
    waits.override(pool="small")()


@dag(schedule=None)
def wants_pool() -> None:
    work.override(pool="small")()


@dag(schedule=None)
def wants_more() -> None:
    work.override(pool="small", pool_slots=5)()


@dag(schedule=None, max_active_tasks=1)
def one_task() -> None:
    waits()
    waits.override(task_id="also_waits")()


@dag(schedule=None)
def one_instance() -> None:
    waits.override(max_active_tis_per_dag=1)()


@dag(schedule=None)
def one_of_a_run() -> None:
    @task(queue=NOBODY, max_active_tis_per_dagrun=1)
    def each(number: int) -> None:
        del number

    each.expand(number=[1, 2, 3])


@dag(schedule=None)
def repeats() -> None:
    @task(retries=2, retry_delay=timedelta(hours=1))
    def breaks() -> None:
        raise RuntimeError("not yet")

    breaks()


@dag(schedule=None)
def looks_again() -> None:
    Never(task_id="file", mode="reschedule", poke_interval=3600)


@dag(schedule=None)
def defers() -> None:
    TimeDeltaSensor(task_id="a_day", delta=timedelta(days=1), deferrable=True)


@dag(schedule=None)
def asks() -> None:
    ApprovalOperator(task_id="somebody", subject="May the orders be loaded?")


@dag(schedule=None)
def pokes() -> None:
    Never(task_id="file", poke_interval=10)
    Never(task_id="other_file", poke_interval=10)


@dag(schedule=None)
def wants_slot() -> None:
    work()


@dag(schedule=None, max_active_tasks=64)
def many() -> None:
    @task(queue=NOBODY)
    def each(number: int) -> None:
        del number

    each.expand(number=list(range(40)))


@dag(schedule=None)
def wants_executor() -> None:
    work()


for make in (
    *(
        halted,
        later,
        over,
        by_asset,
        by_hand,
        one_run,
        past,
        past_downstream,
        upstream,
        after_its_end,
        no_pool,
        takes_pool,
    ),
    *(
        wants_pool,
        wants_more,
        one_task,
        one_instance,
        one_of_a_run,
        repeats,
        looks_again,
        defers,
        asks,
        pokes,
        wants_slot,
        many,
    ),
    wants_executor,
):
    make()
