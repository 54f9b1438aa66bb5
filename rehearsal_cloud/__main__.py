"""`python -m rehearsal_cloud up | down | status | env | reset`: the rehearsal cloud's command line."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING

from rehearsal_cloud.home import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID, Home, Settings
from rehearsal_cloud.server import daemon

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    home = Home.find(getattr(options, "home", None))
    try:
        match options.command:
            case "up":
                with home.locked():
                    settings = _up(home, options)
                print(_reached(settings, home, as_json=options.json))
            case "down":
                with home.locked():
                    daemon.stop(home)
                print(f"The rehearsal cloud in {home.folder} is down; its state stays.")
            case "reset":
                with home.locked():
                    daemon.reset(home)
                print(f"The rehearsal cloud in {home.folder} is gone with all that was in it.")
            case "env":
                print(_exports(_started(home), home))
            case "credential":
                from rehearsal_cloud.server import kubectl

                print(json.dumps(kubectl.credential(home, _started(home))))
            case "status":
                from rehearsal_cloud.server import status

                print(json.dumps(status.facts(home)) if options.json else status.table(home))
            case "serve":
                return _serve(home)
    except daemon.DaemonFailed as fault:
        print(f"rehearsal: {fault}", file=sys.stderr)
        return 1
    return 0


def connection(settings: Settings, home: Home) -> dict[str, str]:
    """Return what a client needs to reach the cloud and sign in; this holds the operator's secret."""
    return {
        "HTTPS_PROXY": f"http://127.0.0.1:{settings.proxy_port}",
        "REQUESTS_CA_BUNDLE": str(home.ca_file),
        "NO_PROXY": "",
        "AZURE_TENANT_ID": TENANT_ID,
        "AZURE_CLIENT_ID": OPERATOR_CLIENT_ID,
        "AZURE_CLIENT_SECRET": settings.operator_secret,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION_ID,
    }


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--home",
        metavar="DIR",
        default=argparse.SUPPRESS,  # the option may stand before or after the command
        help="where its state lives (AIRFLOWAKS_HOME, ~/.airflowaks)",
    )
    parser = argparse.ArgumentParser("python -m rehearsal_cloud", description=__doc__, parents=[common])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[common], help="start it, if it does not run yet")
    up.add_argument("--time-scale", type=float, metavar="X", help="Azure's durations times this (0.01)")
    up.add_argument("--replication-seconds", type=float, metavar="S", help="Entra's replication delay on Azure (20)")
    up.add_argument(
        "--classic-redis",
        action=argparse.BooleanOptionalAction,
        help="be a tenant that may still create Azure Cache for Redis",
    )
    up.add_argument("--json", action="store_true", help="print how to connect, with the operator's secret")
    commands.add_parser("down", parents=[common], help="stop it and everything behind it; its state stays")
    shown = commands.add_parser("status", parents=[common], help="say what runs where")
    shown.add_argument("--json", action="store_true", help="the same for programs")
    commands.add_parser("env", parents=[common], help="print shell exports for az, kubectl and other programs")
    commands.add_parser("reset", parents=[common], help="stop it and forget everything")
    commands.add_parser("credential", parents=[common])  # for kubectl, as the kubeconfig that `env` names says
    commands.add_parser("serve", parents=[common])
    return parser


def _up(home: Home, options: argparse.Namespace) -> Settings:
    before = home.settings()
    settings = home.prepare(
        time_scale=options.time_scale,
        replication_seconds=options.replication_seconds,
        classic_redis=options.classic_redis,
    )
    if daemon.running(home) and (before != settings or not daemon.answers(home, settings)):
        daemon.stop(home)
    if not daemon.running(home):
        daemon.start(home, settings)
    return settings


def _reached(settings: Settings, home: Home, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(connection(settings, home))
    return f"The rehearsal cloud is up: proxy http://127.0.0.1:{settings.proxy_port}, CA {home.ca_file}"


def _started(home: Home) -> Settings:
    settings = home.settings()
    if settings is None or daemon.running(home) is None:
        text = f"no rehearsal cloud runs in {home.folder}; start it with: python -m rehearsal_cloud up"
        raise daemon.DaemonFailed(text)
    return settings


def _exports(settings: Settings, home: Home) -> str:
    from rehearsal_cloud.server import kubectl

    exported = {**connection(settings, home), "KUBECONFIG": str(kubectl.write_kubeconfig(home))}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exported.items())


def _serve(home: Home) -> int:
    import asyncio
    import logging

    from rehearsal_cloud.server.front_door import PortTaken, serve

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = home.prepare()
    try:
        asyncio.run(serve(home, settings))
    except PortTaken as fault:
        print(f"{fault}; stop that program, or use another --home", file=sys.stderr)
        return 1
    except BlockingIOError:
        print(f"a rehearsal cloud runs in {home.folder} already", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
