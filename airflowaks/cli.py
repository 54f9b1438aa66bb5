"""The console script `airflowaks`: preflight, run records, Airflow's web pages and image, other packages' commands.

Exit codes: 0, 1 for an error, 2 for wrong usage; `runs` keeps those of diff: 1 for a difference, 2 for an error. Each
command imports what it needs when it runs: `--help` and shell completion answer at once.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from click.exceptions import Exit

from airflowaks.errors import AirflowAksError, MissingDependency

_ENTRY_POINTS = "airflowaks.commands"
_RECORD = click.Path(path_type=Path)
_PORT = click.IntRange(0, 65535)


class _Commands(click.Group):
    """Commands whose errors print as two lines, not as a traceback."""

    error_code = 1

    def invoke(self, context: click.Context) -> Any:
        failure: AirflowAksError
        try:
            return super().invoke(context)
        except ModuleNotFoundError as error:
            message = f"The package {error.name} is not installed."
            failure = MissingDependency(message, "Install it with `pip install 'airflowaks[notebooks]'`.")
        except AirflowAksError as error:
            failure = error
        click.echo(failure, err=True)
        raise Exit(self.error_code)


class _RunsCommands(_Commands):
    """Commands with diff's exit codes."""

    error_code = 2


class _AllCommands(_Commands):
    """The library's commands, and those that installed packages add under the entry points `airflowaks.commands`."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *entry_points(group=_ENTRY_POINTS).names})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if command := super().get_command(context, name):
            return command
        for entry in entry_points(group=_ENTRY_POINTS, name=name):
            try:
                joined: click.Command = entry.load()
            except ImportError as error:
                return _not_installed(name, str(error))
            return joined
        return None

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            hint = "After an update of the checkout, run `pip install --editable .` again."
            raise click.UsageError(f"{error.message} {hint}", context) from error


def _not_installed(name: str, reason: str) -> click.Command:
    """Return a command that stands in for one whose packages are not installed, so that the others work."""

    def refuse(**_: object) -> None:
        message = f"The command {name} cannot start: {reason}."
        raise MissingDependency(message, f"Install what it needs with `pip install 'airflowaks[{name}]'`.")

    anything = {"ignore_unknown_options": True}
    arguments = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(name, anything, refuse, [arguments], short_help="(not installed)")


def _environments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an environment."""
    del context, parameter
    from airflowaks.config.environment import environment_names

    names: list[str] = []
    with suppress(AirflowAksError):
        names = environment_names()
    return [name for name in names if name.startswith(incomplete)]


_env_option = click.option(
    "--env", default="local", show_default=True, shell_complete=_environments, help="The environment."
)


@click.group(cls=_AllCommands)
@click.version_option(package_name="airflowaks")
def airflowaks() -> None:
    """Deploy Apache Airflow on AKS and keep it healthy: what the notebooks leave to a command line."""


def _check_image(image: str) -> None:
    """Refuse an image before a session begins, which may start the rehearsal."""
    from airflowaks.steps.registry import check_image

    if image:
        check_image(image)


@airflowaks.group(cls=_RunsCommands)
def runs() -> None:
    """List, show and compare run records."""


@runs.command("list")
@click.argument("folder", type=_RECORD, default="runs")
def list_records(folder: Path) -> None:
    """List the records in FOLDER (default: runs), the newest first."""
    from airflowaks.notebook.records import list_runs

    click.echo(list_runs(folder))


@runs.command()
@click.argument("record", type=_RECORD)
def show(record: Path) -> None:
    """Show everything that RECORD says."""
    from airflowaks.notebook.records import show_run

    click.echo(show_run(record))


@runs.command()
@click.argument("before", type=_RECORD)
@click.argument("after", type=_RECORD)
@click.pass_context
def compare(context: click.Context, before: Path, after: Path) -> None:
    """Show what differs between two records; exit with 1 if anything does."""
    from airflowaks.notebook.records import compare

    differences = compare(before, after)
    click.echo(differences)
    context.exit(bool(differences.rows))


@airflowaks.command()
@_env_option
@click.option(
    "--port", default=8080, show_default=True, type=_PORT, help="The port on this machine; 0 takes a free one."
)
@click.option("--password", is_flag=True, help="Print the administrator's password instead.")
@click.option("--where", is_flag=True, help="Print where Airflow is and how to sign in instead.")
def web(env: str, port: int, *, password: bool, where: bool) -> None:
    """Forward Airflow's web pages to this machine.

    It runs until Ctrl-C, as `kubectl port-forward` does, and needs no kubectl.
    """
    import threading

    from airflowaks.session import open_session
    from airflowaks.steps import airflow, api_server, key_vault

    if password and where:
        raise click.UsageError("--password and --where exclude each other.")
    with suppress(KeyboardInterrupt):
        session = open_session(env, "plan")
        if password:
            click.echo(session.memoize(key_vault.Resources).admin_password.require("value").reveal())
        elif where:
            click.echo(airflow.access(session))
        else:
            with api_server.forwarded(session, port) as local_port:
                click.echo(f"http://localhost:{local_port} is Airflow, until Ctrl-C.")
                threading.Event().wait()


@airflowaks.command()
@_env_option
@click.option("--image", default="", help="import, build, existing, a digest or a tag (default: its file's).")
@click.pass_context
def preflight(context: click.Context, env: str, image: str) -> None:
    """Ask Azure what would stop a deployment, before anything is created; exit with 1 if anything does.

    It takes seconds, writes nothing, and says what to do.
    """
    from airflowaks.preflight.run import preflight
    from airflowaks.session import open_session

    _check_image(image)
    verdicts = preflight(open_session(env, "plan", image=image))
    click.echo(verdicts)
    context.exit(bool(verdicts.stopping))


@airflowaks.command()
@click.option("--env", "names", multiple=True, shell_complete=_environments, help="An environment; may be repeated.")
@click.option("--all", "every", is_flag=True, help="All environments on Azure.")
@click.pass_context
def check(context: click.Context, names: tuple[str, ...], *, every: bool) -> None:
    """Compare environments with the cloud, side by side; exit with 1 if an apply would change anything.

    It writes nothing. For the checks of what runs, use the notebooks with mode=check.
    """
    from airflowaks.steps import drift

    if every == bool(names):
        raise click.UsageError("Name environments with --env, or take --all.")
    drifts = drift.check(names or drift.environments_on_azure())
    click.echo(drifts)
    context.exit(not drifts.clean)


@airflowaks.command()
@_env_option
@click.option("--image", default="", help="import, build, existing, a digest or a tag (default: its file's).")
def image(env: str, image: str) -> None:
    """Print an environment's image by its digest.

    It is the image that step 2 has made of the files in this checkout, for programs such as scanners.
    """
    from airflowaks.engine.changes import AFTER_APPLY
    from airflowaks.session import open_session
    from airflowaks.steps import registry

    _check_image(image)
    session = open_session(env, "plan", image=image)
    named = session.memoize(registry.Resources).image
    with session.translated(named):
        reference = named.reference
    if reference is AFTER_APPLY:
        raise MissingDependency(f"{named.id} is not in the registry.", "Run step 2 with mode=apply.")
    click.echo(reference)
