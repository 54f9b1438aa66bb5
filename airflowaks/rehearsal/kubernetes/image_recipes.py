"""What an image is made of here: which packages its virtual environment holds, and how its programs are started.

What an image says of itself (variables, user, working directory) is in its OCI configuration; this is the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.rehearsal.store import Document

_AIRFLOW_VERSION = "org.apache.airflow.version"
# celery 5.7 breaks the Celery provider: "cannot import name 'retry' from 'celery.backends.database'".
_AIRFLOW = ("apache-airflow[celery,fab,postgres]=={version}", "celery<5.7", "psycopg[binary]")
_AIRFLOW_FOLDERS = ("/opt/airflow", "/home/airflow")
# What the official image's /entrypoint does with its arguments, as far as a pod's specification can tell:
# https://airflow.apache.org/docs/docker-stack/entrypoint.html#executing-commands
_AIRFLOW_ENTRYPOINT = """\
#!/bin/sh
case "$1" in
    bash | python) exec "$@" ;;
    airflow) exec "$@" ;;
    *) exec airflow "$@" ;;
esac
"""


@dataclass(frozen=True)
class Recipe:
    """How to make an image's virtual environment: packages, programs of its own (name and text), folders it owns."""

    name: str
    requirements: tuple[str, ...] = ()
    constraints: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def recipe_of(configuration: Document) -> Recipe:
    """Return the recipe of the image with that OCI configuration: Airflow's, or an environment without packages."""
    labels = configuration.get("config", {}).get("Labels") or {}
    version = labels.get(_AIRFLOW_VERSION)
    if version is None:
        return Recipe("python")
    constraints = resources.files(__package__) / "constraints" / f"apache-airflow-{version}.txt"
    return Recipe(
        f"apache-airflow-{version}",
        tuple(one.format(version=version) for one in _AIRFLOW),
        constraints.read_text() if constraints.is_file() else "",
        programs={"entrypoint": _AIRFLOW_ENTRYPOINT},
        folders=_AIRFLOW_FOLDERS,
    )
