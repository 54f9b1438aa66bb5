"""The drift of many environments, checked side by side by one process, against the check of one.

    python tests/benchmarks/drift.py [--environments N] [--delay SECONDS]

Steps 1 to 6 are done in a rehearsal cloud at time scale 0, in N environments that are described as on Azure. Then
`airflowaks check`, with the rights that docs/security.md names for a check, compares one of them, and all of them,
through a proxy that delays what clients send, as a network does. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault, registry, volumes, workload_identity
from tests.support.deployment import describe_environment
from tests.support.principals import READING_GRAPH, new_principal, reading
from tests.support.rehearsal import run_rehearsal, start_rehearsal

STEPS: Any = (cluster, registry, backend, key_vault, workload_identity, volumes)
SIDE_BY_SIDE = 4
_CHUNK = 64 * 1024


class Delay:
    """A relay in front of a proxy that holds back what clients send for some seconds. It runs in a thread."""

    def __init__(self, proxy: str) -> None:
        self._proxy, self.seconds = urlsplit(proxy), 0.0
        started = threading.Event()
        self.address = ""

        async def serve() -> None:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            started.set()
            await server.serve_forever()

        threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
        started.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._proxy.hostname, self._proxy.port)
        await asyncio.gather(self._copy(reader, far_writer, delayed=True), self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool = False) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if delayed:
                    await asyncio.sleep(self.seconds)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def deploy(name: str) -> list[tuple[str, str]]:
    """Run steps 1 to 6. Return the roles that a check needs, with their scopes."""
    with closing(open_session(name)) as session:
        for step in STEPS:
            step.everything(session)
        return reading(session)


def measure(count: int, delay: float) -> dict[str, dict[str, Any]]:
    """Return what the check of one environment cost, and that of `count`."""
    names = [f"scale{number:02}" for number in range(count)]
    measured = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cloud = start_rehearsal(folder / "home", "--time-scale", "0")
        try:
            exported = (
                shlex.split(line)[1].partition("=") for line in run_rehearsal(folder / "home", "env").splitlines()
            )
            os.environ |= {name: value for name, _, value in exported}
            relay = Delay(os.environ["HTTPS_PROXY"])
            on_azure = f"proxy: {relay.address}\nca_bundle: {os.environ['REQUESTS_CA_BUNDLE']}\n"
            for name in names:
                describe_environment(folder, name, "")
                file = folder / "manifests" / "environments" / f"{name}.yaml"
                file.write_text(file.read_text().replace("cloud: rehearsal\n", on_azure))
            os.chdir(folder)
            with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
                roles = {role for environment in pool.map(deploy, names) for role in environment}
            os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"] = new_principal(
                cloud, roles, READING_GRAPH
            )
            relay.seconds = delay
            for several in (names[:1], names):
                before = len(cloud.requests())
                measured[f"{len(several)}"] = _check(folder, several)
                answers = Counter(entry["status"] for entry in cloud.requests()[before:])
                measured[f"{len(several)}"] |= {"requests": answers.total(), "throttled": answers[429]}
        finally:
            os.chdir("/")
            run_rehearsal(folder / "home", "reset")
    return measured


def _check(folder: Path, names: list[str]) -> dict[str, Any]:
    """Run `airflowaks check` of environments and return what it cost. Prints what ended the check of one."""
    options = [option for name in names for option in ("--env", name)]
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        command = [sys.executable, "-m", "airflowaks", "check", *options]
        program = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(program.pid, 0)
        seconds = time.monotonic() - started
        program.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        failed = [line for line in output if " failed " in line]
    print("".join(failed), file=sys.stderr)
    return {
        "seconds": round(seconds, 1),
        "failed": len(failed),
        "CPU seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak MB": usage.ru_maxrss // 1024,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--environments", type=int, default=50)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds between a client's request and the cloud")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    measured = measure(options.environments, options.delay)
    print("| environments | seconds | of one | failed | requests | throttled | CPU seconds | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in measured.items():
        ratio = row["seconds"] / measured["1"]["seconds"]
        cells = [
            name,
            row["seconds"],
            f"{ratio:.1f}",
            row["failed"],
            row["requests"],
            row["throttled"],
            row["CPU seconds"],
        ]
        print("|", " | ".join(str(cell) for cell in [*cells, f"{row['peak MB']} MB"]), "|")
    print(f"\n{json.dumps(measured)}")


if __name__ == "__main__":
    main()
