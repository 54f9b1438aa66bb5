"""A port of a pod on this machine, as `kubectl port-forward` has it: for what the cluster shows to nobody outside."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from airflowaks.errors import KubernetesError
from airflowaks.kube.streams import open_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from airflowaks.kube.client import Kube, Reference

# A stream is for one connection to one port: its data, its errors, and before either the port's number.
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK = 64 * 1024


@contextmanager
def forward(kube: Kube, pod: Reference, port: int, *, local_port: int = 0) -> Iterator[int]:
    """Yield a port of this machine (0: any that is free) whose connections reach `port` of a pod, until the block ends.

    Raises OSError where the port is taken.
    """
    with socket.create_server(("127.0.0.1", local_port)) as listener:
        accepting = threading.Thread(target=_accept, args=(kube, pod, port, listener), name="port-forward", daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # On Linux closing a socket does not wake who waits for a connection to it.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(kube: Kube, pod: Reference, port: int, listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(kube, pod, port, connection), name="forwarded", daemon=True).start()


def _serve(kube: Kube, pod: Reference, port: int, connection: socket.socket) -> None:
    with connection:
        try:
            stream = open_stream(kube, pod, "portforward", [("ports", str(port))], (_PROTOCOL,))
        except KubernetesError:
            # Who called sees the connection closed, as with a server that is down.
            return
        with stream:
            sender = threading.Thread(target=_send, args=(stream, connection), name="to-pod", daemon=True)
            sender.start()
            _receive(stream, connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            sender.join()


def _send(stream: ClientConnection, connection: socket.socket) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(OSError, ConnectionClosed):
        while data := connection.recv(_CHUNK):
            stream.send(bytes((_DATA,)) + data)
        stream.close()


def _receive(stream: ClientConnection, connection: socket.socket) -> None:
    from websockets.exceptions import ConnectionClosed

    begun: set[int] = set()
    with suppress(OSError, ConnectionClosed):
        for message in stream:
            if not isinstance(message, bytes) or not message:
                continue
            channel = message[0]
            if channel not in begun:
                begun.add(channel)
            elif channel == _ERROR:
                return
            else:
                connection.sendall(message[1:])
