"""DAGs whose tasks meet what drills have broken."""

from datetime import timedelta

from airflow.sdk import BaseHook, Variable, dag, task

NAME = "drill"


@dag(schedule=None, tags=["drill"])
def full_disk() -> None:
    """Write to a disk that has no room left."""

    @task
    def write() -> None:
        from pathlib import Path

        Path("/dev/full").write_text("one more line")

    write()


@dag(schedule=None, tags=["drill"])
def extension() -> None:
    """Ask the database for an extension."""

    @task
    def create() -> None:
        import psycopg2

        known = BaseHook.get_connection(NAME)
        opened = psycopg2.connect(
            host=known.host,
            port=known.port,
            dbname=known.schema,
            user=known.login,
            password=known.password,
            sslmode="require",
        )
        with opened, opened.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS hstore")

    create()


@dag(schedule=None, tags=["drill"])
def variable() -> None:
    """Read a variable, which Airflow has encrypted."""

    @task
    def read() -> None:
        print(f"the variable has {len(Variable.get(NAME))} characters")

    read()


@dag(schedule=None, tags=["drill"])
def another_queue() -> None:
    """Have a task that workers take which consume another queue than theirs."""

    @task(queue="another")
    def wait() -> None:
        print("somebody consumes the queue")

    wait()


@dag(schedule=None, tags=["drill"])
def another_pool() -> None:
    """Have a task of a pool that does not exist."""

    @task(pool=NAME)
    def wait() -> None:
        print("somebody has made the pool")

    wait()


@dag(schedule=None, tags=["drill"])
def takes_long() -> None:
    """Run for longer than the broker waits."""

    @task
    def wait() -> None:
        import time

        time.sleep(150)

    wait()


@dag(schedule=None, tags=["drill"])
def at_work() -> None:
    """Have four tasks at work while nodes go."""

    @task
    def work(number: int) -> None:
        import time

        time.sleep(40)
        print(f"task {number} has ended well")

    work.expand(number=[1, 2, 3, 4])


@dag(schedule=None, tags=["drill"])
def retried() -> None:
    """Have tasks at work that are tried again when their machine goes."""

    @task(retries=2, retry_delay=timedelta(seconds=1))
    def work(number: int) -> None:
        import time

        time.sleep(60)
        print(f"task {number} has ended well")

    work.expand(number=[1, 2])


@dag(schedule=None, tags=["drill"])
def on_spot() -> None:
    """Have tasks of a queue at work whose machines Azure may take back."""

    @task(queue="batch", retries=2, retry_delay=timedelta(seconds=1))
    def work(number: int) -> None:
        import time

        time.sleep(60)
        print(f"task {number} has ended well")

    work.expand(number=[1, 2])


full_disk()
extension()
variable()
another_queue()
another_pool()
takes_long()
at_work()
retried()
on_spot()
