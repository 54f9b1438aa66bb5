"""DAG files that cannot be read, are read rarely, define a DAG twice or are gone, on a deployed Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflowaks.engine.polling import retry_on
from airflowaks.steps import volumes
from tests.support.drills.drill import is_unknown
from tests.support.waiting.held import SECONDS, await_true

if TYPE_CHECKING:
    from tests.support.drills.drill import Scene

PARSED = ("AKA-731", "AKA-732", "AKA-733", "AKA-734")
"""The findings about DAG files."""
_FOLDER = Path(__file__).parent
_DAGS = ("twice", "removed")
_PARSED_LONG_AGO = "UPDATE dag SET last_parsed_time = now() - interval '20 minutes' WHERE NOT is_stale"
# Which would be stale at once after the other, as if their files did not define them any more.
_RARELY = ("AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD")


class Parsed:
    """The files, as they are put on the share one after the other."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def _push(self, folder: str) -> None:
        volumes.push_dags(self.scene.session, str(_FOLDER / folder))

    def spoil(self) -> None:
        """Have files that cannot be read, define a DAG twice, or are gone; return once the dag-processor says so."""
        self._push("parsing")
        with self.scene.api() as api:
            retry_on(lambda: api.unpause("removed"), is_unknown, SECONDS)
            self._push("changed")
            await_true(lambda: api.dag("removed")["is_stale"], "removed")

    def mend(self) -> None:
        """Have good files."""
        self._push("mended")

    def read_rarely(self) -> None:
        """Have the dag-processor parse files every two hours, which nobody has told the others."""
        before = self.scene.pods("dag-processor")
        self.scene.edit("dag-processor", env=[{"name": name, "value": "7200"} for name in _RARELY])
        self.scene.await_rolled("dag-processor", before)

    def read_often(self) -> None:
        """Have it parse them as often as before."""
        self.scene.edit("dag-processor", env=[{"name": name, "$patch": "delete"} for name in _RARELY])

    def age(self) -> None:
        """Have all files be parsed long ago; those that the dag-processor is about to read are not for long."""
        self.scene.as_airflow(_PARSED_LONG_AGO)

    def forget(self) -> None:
        """Have everything as it was before; of files that are no DAGs any more nothing is left in Airflow."""
        self.read_often()
        self.mend()
        self._push("gone")
        with self.scene.api() as api:
            for dag in _DAGS:
                retry_on(lambda dag=dag: api.dag(dag), is_unknown, SECONDS)
                await_true(lambda dag=dag: api.dag(dag)["is_stale"], dag)
                api._send("DELETE", f"/api/v2/dags/{dag}")
