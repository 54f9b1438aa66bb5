"""Which process of this machine is at the other end of a loopback connection."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_recent: dict[int, None] = {}
"""The processes that were found last, which mostly connect again."""
_KEPT = 64


def owner(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the process with the socket `client` of a connection to `server`, or None.

    It takes milliseconds, so call it in a thread. It finds only processes of this user, or all for root.
    """
    find = _by_inode if sys.platform == "linux" else _by_connection
    pid = find(client, server)
    if pid is not None:
        _recent.pop(pid, None)
        _recent[pid] = None
        for old in [*_recent][:-_KEPT]:
            _recent.pop(old, None)
    return pid


def _candidates(others: Callable[[], Iterable[int]]) -> Iterator[int]:
    """Yield the processes in the order of their likelihood: those found last, then the newest."""
    recent = [*reversed([*_recent])]
    yield from recent
    yield from sorted({*others()} - {*recent}, reverse=True)


def _by_inode(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    inode = _inode(client, server)
    if inode is None:
        return None
    socket = f"socket:[{inode}]"
    for pid in _candidates(psutil.pids):
        folder = f"/proc/{pid}/fd"
        with contextlib.suppress(OSError):  # gone, or another user's
            for entry in os.listdir(folder):  # noqa: PTH208 - there are thousands
                with contextlib.suppress(OSError):
                    if os.readlink(f"{folder}/{entry}") == socket:  # noqa: PTH115 - as above
                        return pid
    return None


def _inode(client: tuple[str, int], server: tuple[str, int]) -> str | None:
    # https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    _, found, line = (
        Path("/proc/net/tcp").read_text("ascii").partition(f" {_hexadecimal(client)} {_hexadecimal(server)} ")
    )
    return line.split(maxsplit=7)[6] if found else None


def _hexadecimal(address: tuple[str, int]) -> str:
    octets = [int(octet) for octet in address[0].split(".")]
    return "".join(f"{octet:02X}" for octet in reversed(octets)) + f":{address[1]:04X}"


def _by_connection(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    for pid in _candidates(psutil.pids):
        with contextlib.suppress(psutil.Error):
            if any((tcp.laddr, tcp.raddr) == (client, server) for tcp in psutil.Process(pid).net_connections("tcp4")):
                return pid
    return None
