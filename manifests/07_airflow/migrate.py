"""What the migration Job runs: makes or migrates Airflow's tables, and makes the administrator or sets its password.

It looks first whether there is anything to do, because importing Airflow takes longer than all of it. What it has to do
is done in one process for the same reason. The files of the folder that it is given are read into the environment:
mounted, they are what the vault holds now.
"""

import ast
import os
import sys
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path

import psycopg2
from psycopg2.errors import UndefinedTable
from werkzeug.security import check_password_hash

_MIGRATIONS = (
    ("apache-airflow-core", "airflow/migrations", "SELECT version_num FROM alembic_version"),
    ("apache-airflow-providers-fab", "airflow/providers/fab/migrations", "SELECT version_num FROM alembic_version_fab"),
)


def read_secrets(folder: Path) -> None:
    """Put each file into the environment, under its name."""
    for file in folder.iterdir():
        if file.is_file():
            os.environ[file.name] = file.read_text(encoding="utf-8")


def is_migrated() -> bool:
    """Tell whether the schema is the one that this image knows, as `airflow db check-migrations` does."""
    return all(
        {version for (version,) in ask(query)} == newest_revisions(name, folder) for name, folder, query in _MIGRATIONS
    )


def newest_revisions(name: str, folder: str) -> set[str]:
    """Return the revisions in a folder of Alembic's that no other follows; read, because to import them is slow."""
    found: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for file in Path(str(distribution(name).locate_file(folder))).glob("versions/*.py"):
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
            if isinstance(target, ast.Name) and target.id in found and statement.value:
                value = ast.literal_eval(statement.value)
                found[target.id] |= set(value) if isinstance(value, tuple) else {value}
    return found["revision"] - found["down_revision"]


def has_administrator(name: str, password: str) -> bool:
    """Tell whether there is a user of that name and password."""
    return any(
        check_password_hash(hashed, password)
        for (hashed,) in ask("SELECT password FROM ab_user WHERE username = %s", name)
    )


def ask(query: str, *values: str) -> list[tuple[str]]:
    """Return the rows that a query of Airflow's database finds; none where there is no such table yet."""
    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2:", "postgresql:", 1)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(query, values)
        except UndefinedTable:
            return []
        return cursor.fetchall()


def migrate() -> None:
    """Run `airflow db migrate`."""
    from airflow.__main__ import main

    sys.argv = ["airflow", "db", "migrate"]
    main()


def set_administrator(name: str, password: str) -> None:
    """Make the user, or set its password where it is another."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        users = builder.sm
        user, role = users.find_user(username=name), users.find_role("Admin")
        if user is None:
            user = users.add_user(name, "Airflow", "Administrator", f"{name}@localhost", role, password)
            if not user:
                sys.exit(f"The user {name} could not be made; the reason is above.")
        elif not check_password_hash(user.password, password):
            users.reset_password(user.id, password)


if __name__ == "__main__":
    read_secrets(Path(sys.argv[1]))
    if is_migrated():
        print("The schema is the one that this image knows: nothing to migrate.")
    else:
        migrate()
    administrator = os.environ["AIRFLOW_ADMIN"], os.environ["AIRFLOW_ADMIN_PASSWORD"]
    if not has_administrator(*administrator):
        set_administrator(*administrator)
