"""Which process is at the other end of a loopback connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.backends import peers

if TYPE_CHECKING:
    from collections.abc import Callable

    Finder = Callable[[tuple[str, int], tuple[str, int]], int | None]

CLIENT = "import socket, sys; kept = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"


@pytest.fixture(params=[peers.owner, peers._by_connection], ids=["of this system", "of any system"])
def finder(request: pytest.FixtureRequest) -> Finder:
    find: Finder = request.param
    return find


def test_another_process_and_this_one(finder: Finder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()
        command = [sys.executable, "-c", CLIENT, str(server[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as client, listener.accept()[0] as accepted:
            assert finder(accepted.getpeername(), server) == client.pid
            assert client.stdin
            client.stdin.close()
        with socket.create_connection(server) as own, listener.accept()[0] as accepted:
            assert finder(accepted.getpeername(), server) == os.getpid()
            gone = own.getsockname()
        assert finder(gone, ("127.0.0.1", 1)) is None


def test_a_shared_socket_is_that_of_one_of_its_processes(finder: Finder) -> None:
    """What forks keeps its parent's connections; the processes that were found last are looked at first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()
        with socket.create_connection(server), listener.accept()[0] as accepted:
            child = os.fork()
            if child == 0:
                os.read(accepted.fileno(), 1)
                os._exit(0)
            found = {finder(accepted.getpeername(), server) for _ in range(3)}
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert found <= {child, os.getpid()}
