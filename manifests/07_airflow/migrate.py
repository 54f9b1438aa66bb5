"""What the migration Job runs: makes or migrates Airflow's tables, and makes the administrator or sets its password.

Both in one process, because importing Airflow takes longer than either. The files of the folder that it is given are
read into the environment: mounted, they are what the vault holds now.
"""

import os
import sys
from pathlib import Path


def read_secrets(folder: Path) -> None:
    """Put each file into the environment, under its name."""
    for file in folder.iterdir():
        if file.is_file():
            os.environ[file.name] = file.read_text(encoding="utf-8")


def migrate() -> None:
    """Run `airflow db migrate`."""
    from airflow.__main__ import main

    sys.argv = ["airflow", "db", "migrate"]
    main()


def set_administrator(name: str, password: str) -> None:
    """Make the user, or set its password where it is another."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from werkzeug.security import check_password_hash

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
    migrate()
    set_administrator(os.environ["AIRFLOW_ADMIN"], os.environ["AIRFLOW_ADMIN_PASSWORD"])
