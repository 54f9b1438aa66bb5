"""A probe: whether this pod's dag-processor or triggerer still writes its heartbeat to Airflow's database.

`airflow jobs check` asks the same and takes twelve seconds of CPU each time, because it imports Airflow; this takes a
third of one. A database that does not answer is no reason to restart a pod, so only a heartbeat that is old fails.
"""

import os
import sys

import psycopg2

_STALE_SECONDS = 120
_ALIVE = """
    SELECT count(*) FROM job
    WHERE job_type = %s AND hostname = %s AND state = 'running'
      AND latest_heartbeat > now() - make_interval(secs => %s)
"""


def beats(job_type: str) -> bool:
    """Tell whether a job of this type runs on this pod, or the database cannot be asked."""
    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2:", "postgresql:", 1)
    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.OperationalError:
        return True
    with connection, connection.cursor() as cursor:
        cursor.execute(_ALIVE, (job_type, os.environ["POD_IP"], _STALE_SECONDS))
        (alive,) = cursor.fetchone() or (0,)
    return bool(alive)


if __name__ == "__main__":
    sys.exit(None if beats(sys.argv[1]) else "No alive jobs found.")
