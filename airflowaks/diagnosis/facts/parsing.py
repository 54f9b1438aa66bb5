"""Facts about DAG files: how the dag-processor reads them, and what Airflow has of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DagFile:
    """A file in the dag-processor's own table: what its last reading gave; `reading` are seconds of a current one.

    `at` is when the last one ended (ISO 8601, in UTC), `stored` how many DAGs Airflow has of the file.
    """

    defined: int = 0
    errors: int = 0
    seconds: float = 0.0
    reading: float = 0.0
    stored: int = 0
    at: str = ""


@dataclass(frozen=True)
class Parsing:
    """DAG files by path below the folder of DAGs, and how often they are parsed; all times are in seconds.

    `killed` are files whose reading took longer than `timeout`, by the dag-processor's last line about each. `ages` are
    the times since the files were parsed that have waited longest; `total` is what one round of all files takes.
    `moved` are DAGs that come from several files, `gone` DAGs whose file is gone or does not define them any more.
    """

    files: Mapping[str, DagFile] = field(default_factory=dict)
    killed: Mapping[str, str] = field(default_factory=dict)
    ages: Mapping[str, float] = field(default_factory=dict)
    slowest: Mapping[str, float] = field(default_factory=dict)
    count: int = 0
    dags: int = 0
    total: float = 0.0
    moved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gone: Mapping[str, str] = field(default_factory=dict)
    interval: float = 30.0
    processes: int = 2
    timeout: float = 50.0

    @property
    def unread(self) -> dict[str, str]:
        """Return the files whose last reading failed, and how; `import_errors` tells more of those that raised one."""
        ended = {
            name: f"its process ended after {file.seconds:.0f} s, before the file was read"
            for name, file in self.files.items()
            if file.errors
        }
        return {**ended, **{name: f"its process {how}" for name, how in self.killed.items()}}
