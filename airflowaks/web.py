"""Airflow's web pages on this machine, while this runs: `python -m airflowaks.web --env local`.

It is `kubectl port-forward` for those who have no kubectl; it asks of the cluster what that would, and no more.
"""

from __future__ import annotations

import argparse
import sys
import threading

from airflowaks.errors import AirflowAksError
from airflowaks.session import open_session
from airflowaks.steps import airflow, key_vault


def main(arguments: list[str] | None = None) -> int:
    """Forward until interrupted, or print the administrator's password or the way in; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m airflowaks.web", description=__doc__)
    parser.add_argument("--env", default="local", help="the environment (default: local)")
    parser.add_argument("--port", type=int, default=airflow.PORT, help="the port of this machine (default: 8080)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--password", action="store_true", help="print the administrator's password and end")
    instead.add_argument("--where", action="store_true", help="print where Airflow is and how to sign in, and end")
    options = parser.parse_args(arguments)
    try:
        session = open_session(options.env, "plan")
        if options.password:
            secret = session.memoize(key_vault.Resources).admin_password.require("value")
            sys.stdout.write(f"{secret.reveal()}\n")
            return 0
        if options.where:
            sys.stdout.write(f"{airflow.access(session)}\n")
            return 0
        with airflow.forwarded(session, options.port) as port:
            sys.stdout.write(f"http://localhost:{port} is Airflow, until Ctrl-C.\n")
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except AirflowAksError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
