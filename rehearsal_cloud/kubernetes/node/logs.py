"""The logs of containers, read from the files that their shims write and rotate.

https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/cri-client/pkg/logs/logs.go
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 64 * 1024


class Entry(NamedTuple):
    """A line of a log, or a part of a line."""

    time: bytes
    stream: bytes
    text: bytes
    """With the newline, where the line is whole."""


def parse(line: bytes) -> Entry:
    """Parse a line of the file."""
    time, stream, tag, text = line.rstrip(b"\n").split(b" ", 3)
    return Entry(time, stream, text + b"\n" if tag == b"F" else text)


class LogFile:
    """A growing log; after a rotation the old file is read to its end, then the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._rest = b""

    def read(self) -> Iterator[Entry]:
        """Return the entries that have been written since the last call."""
        while True:
            while data := self._file.read(_CHUNK):
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield from (parse(line) for line in lines)
            if not self._moved():
                return
            self._file.close()
            self._file = self._path.open("rb")

    def _moved(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def entries(path: Path) -> list[Entry]:
    """Return all current entries of a log; a missing log has none."""
    try:
        log = LogFile(path)
    except FileNotFoundError:
        return []
    try:
        return list(log.read())
    finally:
        log.close()


def tail(path: Path, lines: int) -> bytes:
    """Return the text of a log's last lines."""
    return b"".join(entry.text for entry in last(entries(path), lines))


def last(all_entries: list[Entry], lines: int) -> list[Entry]:
    """Return the entries of the last whole lines; the parts of a line count as one."""
    start = len(all_entries)
    while lines > 0 and start > 0:
        start -= 1
        while start > 0 and not all_entries[start - 1].text.endswith(b"\n"):
            start -= 1
        lines -= 1
    return all_entries[start:]
