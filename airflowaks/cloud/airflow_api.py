"""A client for Airflow's REST API, signed in as an Airflow user.

Source: https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core import PipelineClient

    from airflowaks.cloud.redaction import Redactor, Secret

_API = "/api/v2"
_READ_SECONDS = 60
_MOST_ERRORS = 50
_MOST_ASSETS = 100
_DAGS = "/dags/"
_OF_PYTHON = re.compile(r".*/lib/python3\.\d+/")
RAISED_AT = "  raised at "
"""How a line begins that says where the exception of the line before was raised."""
# What `supervisor.py` and `task_runner.py` of Airflow's SDK add to a line that names no exception
_DETAILS = ("exit_code", "signal_name", "detail")


class AirflowApi:
    """The REST API at a URL of this machine. Every method raises azure-core's HttpResponseError if it is refused."""

    def __init__(self, url: str, redactor: Redactor) -> None:
        self._url, self._redactor = url, redactor
        self._headers: dict[str, str] = {}
        self._client = _client(url)

    def sign_in(self, user: str, password: Secret) -> None:
        """Get a token for the requests that follow."""
        token = self._send("POST", "/auth/token", {"username": user, "password": password.reveal()})["access_token"]
        self._headers["Authorization"] = f"Bearer {self._redactor.learn(token).reveal()}"

    def health(self) -> dict[str, dict[str, Any]]:
        """Return the state of each component. The HTTP status is 200 even if a component is unhealthy."""
        components: dict[str, dict[str, Any]] = self._send("GET", f"{_API}/monitor/health")
        return {name: state for name, state in components.items() if state}

    def sign_in_address(self) -> str:
        """Return the address to which the pages send a browser for Entra's sign-in, or another that it lands on."""
        from azure.core.rest import HttpRequest

        answer = self._client.send_request(HttpRequest("GET", f"{self._url}/auth/login/azure"))
        return str(answer.headers.get("Location", ""))

    def unpause(self, dag: str) -> None:
        """Unpause a DAG; 404 until the dag-processor has parsed its file."""
        self._send("PATCH", f"{_API}/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, **params: Any) -> str:
        """Start a DAG run with values of the DAG's parameters, and return its ID."""
        body = {"logical_date": None, "conf": params}
        return str(self._send("POST", f"{_API}/dags/{dag}/dagRuns", body)["dag_run_id"])

    def state(self, dag: str, run: str) -> str:
        """Return the state of a DAG run: queued, running, success or failed."""
        return str(self._send("GET", f"{_API}/dags/{dag}/dagRuns/{run}")["state"])

    def count(self, dag: str, run: str, state: str) -> int:
        """Return how many task instances of a run are in a state."""
        query = urlencode({"state": state, "limit": 1})
        return int(self._send("GET", f"{_API}/dags/{dag}/dagRuns/{run}/taskInstances?{query}")["total_entries"])

    def tasks(self, state: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Return the newest task instances of all DAGs in a state (queued, failed), at most `limit`, and the total."""
        query = urlencode({"state": state, "limit": limit, "order_by": "-id"})
        answer = self._send("GET", f"{_API}/dags/~/dagRuns/~/taskInstances?{query}")
        return answer["task_instances"], answer["total_entries"]

    def each_task(self, state: str, page: int, pages: int) -> Iterator[dict[str, Any]]:
        """Yield the task instances of all DAGs in a state, the oldest first, at most `pages` of them."""
        for offset in range(0, page * pages, page):
            query = urlencode({"state": state, "limit": page, "offset": offset, "order_by": "id"})
            tasks = self._send("GET", f"{_API}/dags/~/dagRuns/~/taskInstances?{query}")["task_instances"]
            yield from tasks
            if len(tasks) < page:
                return

    def clear(self, dag: str, run: str, tasks: list[tuple[str, int]], *, failed: bool = False) -> None:
        """Clear instances of tasks, given with their map index, of a run, which then are scheduled again.

        `failed` tasks take with them what failed after them, and the run goes on. Of others none is cleared where one
        has begun meanwhile: Airflow would end it. It answers 409 then.
        """
        body = {"dag_run_id": run, "task_ids": tasks, "dry_run": False, "only_failed": failed}
        body |= {"include_downstream": failed, "reset_dag_runs": failed, "prevent_running_task": not failed}
        self._send("POST", f"{_API}/dags/{quote(dag, safe='')}/clearTaskInstances", body)

    def dag(self, dag: str) -> dict[str, Any]:
        """Return a DAG with its schedule, limits and file; 404 if it was never parsed."""
        details: dict[str, Any] = self._send("GET", f"{_API}/dags/{quote(dag, safe='')}/details")
        return details

    def updated_assets(self, dag: str) -> list[str]:
        """Return the URIs of the assets that were updated since the last run of a DAG that waits for assets; or 404."""
        events = self._send("GET", f"{_API}/dags/{quote(dag, safe='')}/assets/queuedEvents")["queued_events"]
        assets = self._send("GET", f"{_API}/assets?dag_ids={quote(dag)}&limit={_MOST_ASSETS}")["assets"]
        updated = {event["asset_id"] for event in events}
        return [asset["uri"] for asset in assets if asset["id"] in updated]

    def definitions(self, dag: str) -> list[dict[str, Any]]:
        """Return the tasks of a DAG as its file defines them, each with `downstream_task_ids` and `trigger_rule`."""
        return list(self._send("GET", f"{_API}/dags/{quote(dag, safe='')}/tasks")["tasks"])

    def dependencies(self, dag: str, run: str, task: str, map_index: int) -> dict[str, str]:
        """Return which of Airflow's dependencies keep a task from being scheduled, each with Airflow's reason."""
        path = f"/dags/{quote(dag, safe='')}/dagRuns/{quote(run, safe='')}/taskInstances/{quote(task, safe='')}"
        answer = self._send("GET", f"{_API}{path}/{map_index}/dependencies")
        return {dependency["name"]: dependency["reason"] for dependency in answer["dependencies"]}

    def slots(self, pool: str) -> int:
        """Return the slots of a pool; 404 if there is no such pool."""
        return int(self._send("GET", f"{_API}/pools/{quote(pool, safe='')}")["slots"])

    def set_slots(self, pool: str, slots: int) -> None:
        """Set the slots of a pool; Airflow 3.3 asks for `include_deferred` besides (`services/public/pools.py`)."""
        path = f"{_API}/pools/{quote(pool, safe='')}"
        deferred = self._send("GET", path)["include_deferred"]
        body = {"pool": pool, "slots": slots, "include_deferred": deferred}
        self._send("PATCH", f"{path}?update_mask=slots", body)

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the first fifty DAG files that cannot be imported, each with its stack trace."""
        return list(self._send("GET", f"{_API}/importErrors?limit={_MOST_ERRORS}")["import_errors"])

    def log(self, dag: str, run: str, task: str, attempt: int = 1, map_index: int = -1) -> list[str]:
        """Return the log lines of a task attempt; of an exception, type, message and where it was raised."""
        path = f"/dags/{quote(dag, safe='')}/dagRuns/{quote(run, safe='')}/taskInstances/{quote(task, safe='')}"
        answer = self._send("GET", f"{_API}{path}/logs/{attempt}?map_index={map_index}")
        return [line for entry in answer["content"] for line in _lines(entry)]

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        from azure.core.rest import HttpRequest

        request = HttpRequest(
            method, self._url + path, headers={"Accept": "application/json", **self._headers}, json=body
        )
        response = self._client.send_request(request, read_timeout=_READ_SECONDS)
        response.raise_for_status()
        return response.json() if response.content else None


def _lines(entry: str | dict[str, Any]) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
        return
    details = [f"{name}={entry[name]}" for name in _DETAILS if entry.get(name) is not None]
    yield f"{entry.get('event', '')}{' (' if details else ''}{', '.join(details)}{')' if details else ''}"
    for error in reversed(entry.get("error_detail") or ()):  # what was raised comes last, after its causes
        yield f"{error.get('exc_type')}: {' '.join(str(error.get('exc_value')).split())}"
        yield from _place(error.get("frames") or [])


def _place(frames: list[dict[str, Any]]) -> Iterator[str]:
    """Yield where an exception was raised, and by which line of the DAG's file, where that is another."""
    own = [frame for frame in frames if _DAGS in frame["filename"]]
    for frame in frames[-1:]:
        called = f", called by {_position(**own[-1])}" if own and own[-1] is not frame else ""
        yield raised_at(**frame) + called


def raised_at(filename: str, lineno: int, name: str) -> str:
    """Return the line that says where an exception was raised, and whose code that is."""
    return f"{RAISED_AT}{_position(filename, lineno, name)} ({_owner(filename)})"


def _position(filename: str, lineno: int, name: str) -> str:
    path = filename.rpartition(_DAGS if _DAGS in filename else "/site-packages/")[2]
    return f"{_OF_PYTHON.sub('', path)}:{lineno} in {name}"


def _owner(file: str) -> str:
    """Return whose code a file is: the DAG's own, a provider's, Airflow's, another package's or Python's."""
    package = file.rpartition("/site-packages/")[2].split("/")
    if _DAGS in file:
        return "the DAG's own code"
    if package[:2] == ["airflow", "providers"]:
        return f"the provider {package[2]}"
    if package[0] == "airflow":
        return "Airflow"
    return f"the package {package[0]}" if "/site-packages/" in file else "Python"


def _client(url: str) -> PipelineClient[Any, Any]:
    """Return a client that retries idempotent requests and ignores proxy settings: the URL is on this machine."""
    from azure.core import PipelineClient
    from azure.core.pipeline import policies
    from azure.core.pipeline.transport import RequestsTransport

    transport = RequestsTransport(use_env_settings=False)
    return PipelineClient(url, policies=[policies.UserAgentPolicy(), policies.RetryPolicy()], transport=transport)
