"""A probe: whether this pod's worker consumes at least one queue; it prints their names.

A worker that lost its broker may answer pings and consume nothing (apache/airflow#63580), so pings are not enough. With
Airflow's own Celery application the question takes twelve seconds of CPU; a bare one asks the same in one. A broker
that does not answer is no reason to restart a pod.
"""

import os
import socket
import sys

from celery import Celery
from kombu.exceptions import OperationalError


def consumes(seconds: float) -> bool:
    """Tell whether the worker names queues that it consumes, within `seconds`, or the broker cannot be asked."""
    worker = f"celery@{socket.gethostname()}"
    application = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    try:
        answers = application.control.inspect([worker], timeout=seconds, limit=1).active_queues()
    except OperationalError:
        return True
    queues = (answers or {}).get(worker) or []
    print(*(one["name"] for one in queues))
    return bool(queues)


if __name__ == "__main__":
    sys.exit(not consumes(float(sys.argv[1])))
