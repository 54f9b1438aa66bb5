"""Commands in containers, and attaching to them, over WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import struct
import termios
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.channels import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT, Channels
from rehearsal_cloud.kubernetes.node.log_requests import LOOK_SECONDS
from rehearsal_cloud.kubernetes.node.logs import LogFile
from rehearsal_cloud.kubernetes.node.runtime import StartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.websockets import WebSocket

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.command import Command
    from rehearsal_cloud.kubernetes.node.runtime import Run

_CHUNK = 32 * 1024
_HANG_SECONDS = 75
_PIPE, _NOTHING = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
_SUCCESS: Document = {"metadata": {}, "status": "Success"}


def _failed(code: int) -> Document:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _not_started(fault: StartFailed) -> Document:
    text = f"OCI runtime exec failed: exec failed: unable to start container process: {fault}: unknown"
    message = f"Internal error occurred: error executing command in container: failed to exec in container: {text}"
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}


def _asked(websocket: WebSocket, name: str) -> bool:
    return websocket.query_params.get(name, "").lower() in ("1", "true")


async def execute(websocket: WebSocket, run: Run, words: Sequence[str], early_end: str = "") -> None:
    """Run a command with its streams on the WebSocket; it ends with the client.

    A command that ends before it has read its input gets its Status through. With `early_end` it ends as measured on a
    kubelet 1.36 with containerd 1.6, where 22 of 72 runs hung for more than 75 s (`hang`), and the connection of
    others broke while the client wrote, after the Status (`status`) or without one (`reset`).
    """
    channels = await Channels.accept(websocket)
    await channels.send(STDOUT, b"")
    try:
        if _asked(websocket, "tty"):
            code = await _on_terminal(channels, run, words)
        else:
            stdio = [_PIPE if _asked(websocket, name) else _NOTHING for name in ("stdin", "stdout", "stderr")]
            code = await _on_pipes(channels, run, words, (stdio[0], stdio[1], stdio[2]))
    except StartFailed as fault:
        await channels.end(_not_started(fault))
        return
    status = _failed(code) if code else _SUCCESS
    if not early_end or channels.input_ended or not _asked(websocket, "stdin"):
        await channels.end(status)
    elif early_end == "hang":
        await asyncio.sleep(_HANG_SECONDS)
    elif early_end == "status":
        await channels.send(ERROR, json.dumps(status).encode())  # then the server closes the connection


async def _on_pipes(channels: Channels, run: Run, words: Sequence[str], stdio: tuple[int, int, int]) -> int:
    command = await run.exec(words, stdio)
    taking = asyncio.create_task(_take(channels, command, command.stdin))
    try:
        await asyncio.gather(
            _pass_on(command.stdout, channels, STDOUT),
            _pass_on(command.stderr, channels, STDERR),
        )
        return await command.wait()
    finally:
        await _end(command, taking)


async def _on_terminal(channels: Channels, run: Run, words: Sequence[str]) -> int:
    main, replica = os.openpty()
    try:
        command = await run.exec(words, (replica, replica, replica), tty=True)
    except StartFailed:
        os.close(main)
        raise
    finally:
        os.close(replica)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    terminal = os.fdopen(main, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), terminal)
    taking = asyncio.create_task(_take(channels, command, main))
    try:
        with contextlib.suppress(OSError):  # how a terminal says that its other side has closed
            await _pass_on(reader, channels, STDOUT)
        return await command.wait()
    finally:
        await _end(command, taking)
        transport.close()


async def _end(command: Command, taking: asyncio.Task[None]) -> None:
    taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking
    command.close()
    await command.wait()


async def _pass_on(reader: asyncio.StreamReader | None, channels: Channels, channel: int) -> None:
    while reader is not None and (data := await reader.read(_CHUNK)):
        await channels.send(channel, data)


async def _take(channels: Channels, command: Command, sink: asyncio.StreamWriter | int | None) -> None:
    """Pass the client's input to the command; end the command when the client disconnects."""
    async for channel, data in channels.received():
        if isinstance(sink, int):
            await _to_terminal(sink, channel, data)
        elif channel == STDIN and sink is not None and not sink.is_closing():
            with contextlib.suppress(OSError):
                sink.write(data)
                await sink.drain()
        elif channel == CLOSE and data == bytes([STDIN]) and sink is not None:
            sink.close()
    command.close()


async def _to_terminal(terminal: int, channel: int, data: bytes) -> None:
    if channel == RESIZE:
        _resize(terminal, data)
    elif channel == STDIN:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(os.write, terminal, data)


def _resize(terminal: int, data: bytes) -> None:
    with contextlib.suppress(ValueError, OSError, KeyError):
        size = json.loads(data)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size["Height"], size["Width"], 0, 0))


async def attach(websocket: WebSocket, run: Run, *, once: bool) -> None:
    """Stream the container's further output; `once`: its stdin ends with the first client."""
    channels = await Channels.accept(websocket)
    await channels.send(STDOUT, b"")
    taking = asyncio.create_task(_feed(channels, run, once=once)) if _asked(websocket, "stdin") else None
    showing = asyncio.create_task(_show(channels, run))
    until_gone = taking or asyncio.create_task(_until_gone(channels))
    try:
        await asyncio.wait([showing, until_gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (showing, until_gone):
            task.cancel()
        await asyncio.gather(showing, until_gone, return_exceptions=True)
    await channels.end(_SUCCESS)


async def _show(channels: Channels, run: Run) -> None:
    log = LogFile(run.log)
    try:
        list(log.read())  # skip the earlier lines
        going = True
        while going:
            going = run.alive()
            for entry in log.read():
                await channels.send(STDERR if entry.stream == b"stderr" else STDOUT, entry.text)
            await asyncio.sleep(LOOK_SECONDS if going else 0)
    finally:
        log.close()


async def _feed(channels: Channels, run: Run, *, once: bool) -> None:
    if not run.stdin.exists():
        await _until_gone(channels)
        return
    fifo = os.open(run.stdin, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(fifo, True)
    try:
        async for channel, data in channels.received():
            if channel == STDIN:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(os.write, fifo, data)
            elif channel == CLOSE and data == bytes([STDIN]) and once:
                run.close_stdin()
    finally:
        os.close(fifo)
        if once:
            run.close_stdin()


async def _until_gone(channels: Channels) -> None:
    async for _ in channels.received():
        pass
