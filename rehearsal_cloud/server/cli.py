"""`airflowaks rehearsal`: the rehearsal cloud's command line, which joins the console script by an entry point."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack, contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehearsal_cloud.home import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID, Home, Settings
from rehearsal_cloud.server import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def connection(settings: Settings, home: Home) -> dict[str, str]:
    """Return what a client needs to reach the cloud and sign in; this holds the operator's secret."""
    return {
        "HTTPS_PROXY": f"http://127.0.0.1:{settings.proxy_port}",
        "REQUESTS_CA_BUNDLE": str(home.proxy_ca_file(settings)),
        "NO_PROXY": "",
        "AZURE_TENANT_ID": TENANT_ID,
        "AZURE_CLIENT_ID": OPERATOR_CLIENT_ID,
        "AZURE_CLIENT_SECRET": settings.operator_secret,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION_ID,
    }


def _find_home(context: click.Context, _: click.Parameter, folder: str | None) -> None:
    if folder is not None or context.obj is None:  # a command inherits the group's
        context.obj = Home.find(folder)


class _Factor(click.FloatRange):
    """A number in a range; click lets nan into every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return number if not isnan(number) else self.fail(f"{value!r} is not a number.", param, ctx)


_home_option = click.option(
    "--home",
    metavar="DIR",
    callback=_find_home,
    expose_value=False,
    help="The folder that keeps its state (default: AIRFLOWAKS_HOME, else ~/.airflowaks).",
)


@click.group()
@_home_option
def rehearsal() -> None:
    """Run the rehearsal cloud: Azure's APIs on this machine."""


@rehearsal.command()
@_home_option
@click.option("--time-scale", type=_Factor(0, 1000), metavar="X", help="Multiply Azure's durations by this (0.01).")
@click.option(
    "--replication-seconds", type=_Factor(0, 86_400), metavar="S", help="Entra's replication delay on Azure (20)."
)
@click.option(
    "--classic-redis/--no-classic-redis",
    default=None,
    help="Rehearse a tenant that may still create Azure Cache for Redis.",
)
@click.option(
    "--acr-tasks/--no-acr-tasks",
    default=None,
    help="Rehearse a subscription whose registries may build images; one on free credit may not.",
)
@click.option(
    "--company-root/--no-company-root",
    default=None,
    help="Rehearse a company's proxy that shows certificates of its own CA.",
)
@click.option(
    "--docker-hub",
    type=click.Choice(["open", "throttled", "exhausted", "private"]),
    help="Rehearse Docker Hub for anonymous imports: open, throttled (the request is answered with 429), exhausted (the"
    " import fails with Docker Hub's 429), or private.",
)
@click.option("--json", "as_json", is_flag=True, help="Print how to connect as JSON, with the operator's secret.")
@click.pass_obj
def up(home: Home, /, *, as_json: bool, **changes: float | bool | str | None) -> None:
    """Start it, unless it runs already with these settings."""
    with _locked(home):
        settings = _up(home, changes)
    if as_json:
        click.echo(json.dumps(connection(settings, home)))
    else:
        ca = home.proxy_ca_file(settings)
        click.echo(f"The rehearsal cloud is up: proxy http://127.0.0.1:{settings.proxy_port}, CA {ca}")


def _up(home: Home, changes: Mapping[str, float | bool | str | None]) -> Settings:
    if home.is_foreign:
        message = f"{home.folder} has files that are no rehearsal cloud's, and a reset would delete them."
        raise daemon.DaemonFailed(message, "Name an empty or a new folder with --home or AIRFLOWAKS_HOME.")
    before = home.settings()
    settings = home.prepare(**changes)
    if daemon.running(home) and (before != settings or not daemon.answers(home, settings)):
        daemon.stop(home)
    if not daemon.running(home):
        daemon.start(home, settings)
    return settings


@rehearsal.command()
@_home_option
@click.pass_obj
def down(home: Home) -> None:
    """Stop it and all its processes; keep its state."""
    with _locked(home):
        daemon.stop(home)
    click.echo(f"The rehearsal cloud in {home.folder} is down; its state stays.")


@rehearsal.command()
@_home_option
@click.pass_obj
def reset(home: Home) -> None:
    """Stop it and delete its state."""
    with _locked(home):
        daemon.reset(home)
    click.echo(f"The rehearsal cloud in {home.folder} is gone with all that was in it.")


@rehearsal.command()
@_home_option
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
@click.pass_obj
def status(home: Home, *, as_json: bool) -> None:
    """Show what runs where."""
    from rehearsal_cloud.server import status

    click.echo(json.dumps(status.facts(home)) if as_json else status.table(home))


@rehearsal.command()
@_home_option
@click.pass_obj
def env(home: Home) -> None:
    """Print shell exports for az, kubectl and other programs."""
    from rehearsal_cloud.server import kubectl

    exported = connection(_started(home), home) | {
        "AZURE_CONFIG_DIR": str(home.az_folder),  # az's sign-in to Azure stays as it is
        "KUBECONFIG": str(kubectl.write_kubeconfig(home)),
    }
    click.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in exported.items()))


@rehearsal.command()
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def compare(context: click.Context, trace: Path) -> None:
    """Compare TRACE, what Azure answered in a run, with the answers of a fresh rehearsal.

    With `trace: true` in its environment file a run keeps a trace in runs/. The rehearsal is the command's own, and
    gone when it ends. The exit code is 1 if there are differences.
    """
    from rehearsal_cloud.comparison.trace import read_trace
    from rehearsal_cloud.server.comparing import compare, report

    try:
        replay = compare(read_trace(trace))
    except ValueError as fault:
        message = f"{trace} is not the trace of a run: {fault}."
        action = "Name a file runs/trace-*.jsonl, which runs of an environment with `trace: true` keep."
        raise daemon.DaemonFailed(message, action) from fault
    click.echo(report(replay))
    context.exit(1 if replay.differing else 0)


@rehearsal.command(hidden=True)
@_home_option
@click.pass_obj
def credential(home: Home) -> None:
    """Print the token that kubectl asks for, as the kubeconfig of `env` says."""
    from rehearsal_cloud.server import kubectl

    click.echo(json.dumps(kubectl.credential(home, _started(home))))


@rehearsal.command(hidden=True)
@_home_option
@click.pass_obj
def serve(home: Home) -> None:
    """Be the daemon that `up` starts."""
    import asyncio
    import logging

    from rehearsal_cloud.server import front_door

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(front_door.serve(home, home.prepare()))
    except front_door.PortTaken as fault:
        raise daemon.DaemonFailed(f"{fault}.", "Stop that program, or use another --home.") from fault
    except BlockingIOError as fault:
        message = f"A rehearsal cloud runs in {home.folder} already."
        raise daemon.DaemonFailed(message, "Run `airflowaks rehearsal down`, or use another --home.") from fault


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(home.locked())
        except OSError as fault:
            message = f"The folder {home.folder} cannot be written: {fault.strerror}."
            raise daemon.DaemonFailed(message, "Name another folder with --home or AIRFLOWAKS_HOME.") from fault
        yield


def _started(home: Home) -> Settings:
    settings = home.settings()
    if settings is None or daemon.running(home) is None:
        message = f"No rehearsal cloud runs in {home.folder}."
        raise daemon.DaemonFailed(message, "Start it with `airflowaks rehearsal up`.")
    return settings
