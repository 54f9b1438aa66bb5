"""The handlers of probes and hooks: run a command in the container, or connect to its port, as the kubelet does."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.runtime import Run
    from rehearsal_cloud.kubernetes.node.sandbox import Sandbox

_OUTPUT_BYTES = 10 * 1024
_CLIENT_ERROR = 400


class Errored(Exception):
    """A handler failed without a result; the message is the kubelet's."""


@dataclass(frozen=True)
class Outcome:
    """The result of a handler: success, and the output."""

    well: bool
    output: str


async def handle(handler: Document, sandbox: Sandbox, container: Document, run: Run, seconds: float) -> Outcome:
    """Run the handler for at most `seconds`. Raises Errored. The caller runs a hook's `sleep`."""
    if "exec" in handler:
        return await execute(run, handler["exec"]["command"], seconds)
    if "httpGet" in handler:
        return await _get(handler["httpGet"], sandbox, container, seconds)
    if "tcpSocket" in handler:
        return await _connect(handler["tcpSocket"], sandbox, container, seconds)
    raise Errored("the rehearsal's node has no handler of this kind")


async def execute(run: Run, words: list[str], seconds: float) -> Outcome:
    """Run a command in the container and return its output; a timeout is a failure. Raises Errored if none starts."""
    from rehearsal_cloud.kubernetes.node.runtime import StartFailed

    try:
        command = await run.exec(
            words, (asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT)
        )
    except StartFailed as fault:
        text = f"OCI runtime exec failed: exec failed: unable to start container process: {fault}: unknown"
        raise Errored(f"rpc error: code = Unknown desc = failed to exec in container: {text}") from None
    assert command.stdout is not None  # noqa: S101 - it was asked for above
    output = b""
    try:
        async with asyncio.timeout(seconds):
            while data := await command.stdout.read(_OUTPUT_BYTES):
                output = (output + data)[:_OUTPUT_BYTES]
            code = await command.wait()
    except TimeoutError:
        return Outcome(False, f"command timed out: {json.dumps(' '.join(words))} timed out after {seconds:g}s")  # noqa: FBT003 - not well
    finally:
        command.close()
        await command.wait()
    return Outcome(code == 0, output.decode(errors="replace"))


def port_number(port: int | str, container: Document) -> int:
    """Return the number of a port, resolving a name in the container's ports. Raises Errored."""
    if isinstance(port, int):
        return port
    for container_port in container.get("ports") or []:
        if container_port.get("name") == port:
            return int(container_port["containerPort"])
    raise Errored(f"couldn't find named port {port}")


async def _get(get: Document, sandbox: Sandbox, container: Document, seconds: float) -> Outcome:
    scheme, port = get.get("scheme", "HTTP"), port_number(get["port"], container)
    host = get.get("host") or sandbox.ip
    url = f"{scheme.lower()}://{host}:{port}{get.get('path') or '/'}"
    try:
        address = sandbox.network.destination(host, port)
        async with asyncio.timeout(seconds):
            status, body = await asyncio.to_thread(_request, scheme, address, f"{host}:{port}", get, seconds)
    except ConnectionRefusedError:
        return Outcome(well=False, output=f'Get "{url}": dial tcp {host}:{port}: connect: connection refused')
    except TimeoutError:
        text = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return Outcome(well=False, output=text)
    except (OSError, http.client.HTTPException) as fault:
        reason = "EOF" if isinstance(fault, http.client.RemoteDisconnected) else str(fault)
        return Outcome(well=False, output=f'Get "{url}": {reason}')
    if status < _CLIENT_ERROR:
        return Outcome(well=True, output=body)
    return Outcome(well=False, output=f"HTTP probe failed with statuscode: {status}")


def _request(scheme: str, address: tuple[str, int], host: str, get: Document, seconds: float) -> tuple[int, str]:
    if scheme == "HTTPS":
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - as the kubelet, which has no name to verify
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(*address, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(*address, timeout=seconds)
    headers = {"Host": host, "User-Agent": "kube-probe/1.35", "Accept": "*/*", "Connection": "close"}
    headers |= {header["name"]: header["value"] for header in get.get("httpHeaders") or []}
    with contextlib.closing(connection):
        connection.request("GET", get.get("path") or "/", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_OUTPUT_BYTES).decode(errors="replace")


async def _connect(target: Document, sandbox: Sandbox, container: Document, seconds: float) -> Outcome:
    port, host = port_number(target["port"], container), target.get("host") or sandbox.ip
    try:
        address = sandbox.network.destination(host, port)
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(*address, family=socket.AF_INET)
    except ConnectionRefusedError:
        return Outcome(well=False, output=f"dial tcp {host}:{port}: connect: connection refused")
    except TimeoutError:
        return Outcome(well=False, output=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as fault:
        return Outcome(well=False, output=f"dial tcp {host}:{port}: {fault}")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Outcome(well=True, output="")
