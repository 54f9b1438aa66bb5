"""Kinds of failures of tasks: the words that tell them, what they mean, what to do, and whether a retry helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of failure and the ID of its finding; any of `words` in the exception tells it.

    The failures of kinds with IDs AKA-92x may follow from a cause in the platform.
    """

    id: str
    words: tuple[str, ...]
    meaning: str
    action: str

    @property
    def of_the_worker(self) -> bool:
        """Tell whether the cause is one that concerns workers: their memory, their pods."""
        return self.id in ("AKA-921", "AKA-922", "AKA-924")


KILLED = Kind(
    "AKA-921",
    ("Likely out of memory", "signal 9", "SIGKILL", "exit code -9", "exit code 137"),
    "its process was killed (SIGKILL), most likely for want of memory",
    "Raise `airflow.workers.memory` or lower `airflow.workers.concurrency` and run step 7, or have the task use less; a"
    " retry may help.",
)
"""By the kernel, for the limit of the container or of the process, or by somebody; AKA-802 is about the whole pod."""
KILLED_BY_THE_NODE = Kind(
    "AKA-921",
    (),
    "its process was killed (SIGKILL), while a node was out of memory",
    "Choose a larger `cluster.node_pool.vm_size` and run step 1, or lower `airflow.workers.concurrency` and run step 7;"
    " a retry may help.",
)
NODE_IS_FULL = "SystemOOM"
"""The reason of the kubelet's event about its node, in the namespace default: pkg/kubelet/oom/oom_watcher_linux.go."""
UNDECRYPTABLE = Kind(
    "AKA-925",
    ("InvalidToken", "Can't decrypt", "Could not create Fernet object"),
    "a connection or variable cannot be decrypted",
    "Put back the Fernet key that it was encrypted with, or enter it again; a retry does not help before.",
)
"""The api-server answers as if there was none: `airflow/models/variable.py` logs it and returns nothing."""
# Airflow's words are those of 3.3: `supervisor.py`, `task_runner.py`, `timeout.py` in `airflow/sdk/execution_time`,
# `airflow/sdk/exceptions.py`, `airflow/jobs/scheduler_job_runner.py`; a worker's are those of billiard and Celery. Exit
# codes of programs are those of `subprocess`: https://docs.python.org/3/library/subprocess.html
KINDS = (
    Kind(
        "AKA-922",
        ("heartbeat timeout", "Too many failed heartbeats"),
        "the worker sent no heartbeat for it any more",
        "Check whether the worker's pod ended, was moved or lacked CPU; a retry helps, and this fix clears the tasks.",
    ),
    Kind(
        "AKA-924",
        ("stuck in queued",),
        "it was queued again and again, and no worker took it",
        "Check the workers and the broker; a retry helps then, and this fix clears the tasks.",
    ),
    KILLED,
    Kind(
        "AKA-921",
        ("Process terminated by signal", "WorkerLostError", "signal 15", "SIGTERM", "state attribute is running"),
        "its process was ended by a signal, or with its worker",
        "Check whether its worker's pod was stopped or moved; a retry helps then.",
    ),
    Kind(
        "AKA-726",
        ("ModuleNotFoundError", "ImportError", "Dag not found during start up", "Task not found in Dag"),
        "the image of the worker or triggerer lacks what its code imports",
        "Add the package to manifests/image/requirements.txt, or the module to the DAGs' share, and roll it out; a"
        " retry does not help before.",
    ),
    Kind(
        "AKA-722",
        ("AirflowTaskTimeout",),
        "it took longer than its execution_timeout",
        "Raise execution_timeout in the DAG's file, or see what it waited for; a retry helps if that was busy.",
    ),
    Kind(
        "AKA-722",
        ("AirflowSensorTimeout", "TaskDeferralTimeout", "Trigger timeout"),
        "what it waited for did not come within its timeout",
        "Check what it waits for, or raise `timeout` in the DAG's file; a retry helps once that has come.",
    ),
    Kind(
        "AKA-722",
        ("dagrun_timeout",),
        "",
        "Raise dagrun_timeout in the DAG's file, or see which task took long: what was unfinished is skipped. Clear the"
        " run to go on.",
    ),
    UNDECRYPTABLE,
    Kind(
        "AKA-724",
        ("AirflowNotFoundException", "CONNECTION_NOT_FOUND", "isn't defined"),
        "a connection is missing",
        "Create the connection under Admin, Connections, then clear the tasks; a retry does not help before.",
    ),
    Kind(
        "AKA-724",
        ("VARIABLE_NOT_FOUND", "KeyError: 'Variable "),
        "a variable is missing",
        "Create the variable under Admin, Variables, then clear the tasks; a retry does not help before.",
    ),
    Kind(
        "AKA-723",
        ("JSON serializable", "annot serialize", "Value rejected by database"),
        "Airflow's database cannot store what it returned",
        "Return a value that is JSON, or a file's name instead of the value; a retry does not help.",
    ),
    Kind(
        "AKA-723",
        (
            "DataError",
            "IntegrityError",
            "Violation",
            "Truncation",
            "InvalidTextRepresentation",
            "NumericValueOutOfRange",
        ),
        "a database refused a value",
        "Correct the value where the task makes it; a retry does not help.",
    ),
    Kind(
        "AKA-924",
        ("Invalid auth token", "ServerResponseError", "finished with state"),
        "the worker could not begin it",
        "Read the evidence and the worker's log; a retry helps once that is mended, and this fix clears the tasks.",
    ),
    Kind(
        "AKA-923",
        ("No space left on device", "Disk quota exceeded"),
        "a share or disk is full",
        "Make room, or grow the share with step 6; a retry helps then.",
    ),
    Kind(
        "AKA-923",
        ("Name or service not known", "Temporary failure in name resolution", "gaierror", "NameResolutionError"),
        "a host's name could not be resolved",
        "Check the name, and the cluster's DNS; a retry helps if DNS was busy.",
    ),
    Kind(
        "AKA-923",
        (
            "401 ",
            "403 ",
            "PERMISSION_DENIED",
            "Unauthorized",
            "Forbidden",
            "ClientAuthenticationError",
            "AADSTS",
            "authentication failed",
        ),
        "a service refused its token or its rights",
        "Check the identity's role or the connection's password, then clear the tasks; a retry does not help before.",
    ),
    Kind(
        "AKA-923",
        ("ReadTimeout", "ConnectTimeout", "TimeoutError", "timed out", "QueryCanceled", "statement timeout"),
        "a service did not answer in time",
        "Check the service, or raise the client's time-out in the DAG's file; a retry helps if the service was busy.",
    ),
    Kind(
        "AKA-923",
        (
            "OperationalError",
            "ConnectionError",
            "ConnectError",
            "ConnectionRefused",
            "ConnectionReset",
            "InterfaceError",
            "API_SERVER_ERROR",
        ),
        "a connection failed",
        "Check the service that it connects to; a retry helps once that answers.",
    ),
    Kind(
        "AKA-906",
        ("shouldn't be running anymore",),
        "somebody ended it, or its run was over",
        "See who marked it under Browse, Audit Log; clear it to run it again.",
    ),
)
BY_PLACE = (
    Kind(
        "AKA-725",
        ("the DAG's own code",),
        "",
        "Correct the DAG's file and run step 6, then clear the tasks; a retry alone does not help.",
    ),
    Kind(
        "AKA-725",
        ("(the provider",),
        "",
        "Check what the operator is given, and the release notes of its provider; a retry alone hardly helps.",
    ),
    Kind("AKA-725", ("",), "", "Read the evidence; clear one of the tasks to see whether a retry helps."),
)
"""What nothing above tells, by where it was raised."""
UNREAD = Kind("AKA-906", (), "", "Check the logs of the tasks in Airflow's web UI.")
