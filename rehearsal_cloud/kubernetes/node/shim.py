"""The shim between the node and a container's process, like containerd-shim: it outlives the node's program.

It runs as a program with only the standard library: `python -I -S shim.py run FOLDER` starts what
`FOLDER/config.json` says and writes `state.json`, `log` and, in the end, `exit.json`; `shim.py exec FOLDER FD` runs a
command in a container on its own stdin, stdout and stderr, reads its configuration from the pipe FD, and ends it
when the other end of that pipe is closed. The folder is in the command line so that a shim can be identified. There
is no pathlib: every container and every exec has a shim, and pathlib would double its start time.
It is one file, however long: a program that runs in isolation by its path can import nothing from beside it.

Processes left behind by a container's first process are killed when it ends, as in a PID namespace: on
Linux the shim is its descendants' reaper, elsewhere it kills their process group.
"""

# ruff: noqa: PTH104, PTH123, PTH208
from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import signal
import sys
import termios
import time
from contextlib import suppress
from typing import Any

LOG_BYTES = 10 * 1024 * 1024
"""After so much a log is moved away, as the kubelet's containerLogMaxSize has it."""

_LINE_BYTES = 16 * 1024
_CHUNK = 64 * 1024
_DRAIN_SECONDS = 1.0
_ON_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None) if _ON_LINUX else None


class Log:
    """Writes a container's output in lines with time and stream, in the format of the container runtime interface.

    https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
    """

    def __init__(self, path: str, *, whole_lines: bool) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._whole_lines = whole_lines
        self._rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, data: bytes) -> None:
        """Write the complete lines of `data`, and a terminal's unfinished line as a part."""
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        entries = [entry for line in lines for entry in self._entries(line, b"F")]
        if rest and (not self._whole_lines or len(rest) >= _LINE_BYTES):
            entries += self._entries(rest, b"P")
            rest = b""
        self._rest[stream] = rest
        self._append(stream, entries)

    def end(self) -> None:
        """Write the last lines without a newline."""
        for stream, rest in self._rest.items():
            if rest:
                self._append(stream, self._entries(rest, b"F"))

    @staticmethod
    def _entries(line: bytes, tag: bytes) -> list[tuple[bytes, bytes]]:
        parts = [line[start : start + _LINE_BYTES] for start in range(0, len(line), _LINE_BYTES)] or [b""]
        return [*((b"P", part) for part in parts[:-1]), (tag, parts[-1])]

    def _append(self, stream: str, entries: list[tuple[bytes, bytes]]) -> None:
        if not entries:
            return
        head = f"{_now()} {stream} ".encode()
        os.write(self._file, b"".join(head + tag + b" " + line + b"\n" for tag, line in entries))
        if os.fstat(self._file).st_size > LOG_BYTES:
            os.rename(self._path, f"{self._path}.1")
            os.close(self._file)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Child:
    """The container's first process and its descendants."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(self, config: dict[str, Any], stdio: tuple[int, int, int]) -> None:
        """Run the program in its own session; where the kernel supports it, it is killed with this shim."""
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.setsid()
            if _LIBC is not None:
                _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != shim:
                    os._exit(137)
            kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in stdio]
            for target, source in enumerate(kept):
                os.dup2(source, target)
            os.closerange(3, 256)
            if config["tty"]:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for number in (
                signal.SIGPIPE,
                signal.SIGTERM,
                signal.SIGCHLD,
                signal.SIGUSR1,
                signal.SIGHUP,
                signal.SIGINT,
            ):
                signal.signal(number, signal.SIG_DFL)
            os.umask(0o022)
            os.chdir(config["cwd"])
            os.execve(config["program"], config["args"], config["env"])  # noqa: S606 - a runtime starts programs
        except OSError as fault:
            os.write(2, f"{config['args'][0]}: {fault.strerror}\n".encode())
        finally:
            os._exit(128)

    def reap(self) -> None:
        """Collect the ended processes."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.pid:
                    self.status = ended[1]

    def kill_rest(self) -> None:
        """Kill the descendants of the ended first process."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        while _ON_LINUX and (orphans := _children()):
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)

    def send(self, number: int) -> None:
        """Send the first process a signal."""
        if self.pid and self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def code(self) -> int:
        """Return the exit code, with 128 added to a signal's number, as shells and runtimes do."""
        code = os.waitstatus_to_exitcode(self.status or 0)
        return code if code >= 0 else 128 - code


def _children() -> list[int]:
    pids = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    pids.append(int(name))
    return pids


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def _keep(name: str, content: dict[str, Any]) -> None:
    with open(f"{name}.new", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump(content, file)
    os.rename(f"{name}.new", name)


def _wakeup() -> int:
    """Return a pipe that becomes readable when a handled signal arrives."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return read


class Run:
    """A container's run, from its start to its exit code."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._log = Log("log", whole_lines=not config["tty"])
        self._child = Child()
        self._selector = selectors.DefaultSelector()
        self._outputs: dict[int, str] = {}
        self._stdin: int | None = None

    def go(self, started: int) -> None:
        """Start the program, report it on the pipe `started`, and stay until it has ended."""
        wakeup = _wakeup()
        signal.signal(signal.SIGTERM, lambda *_: self._child.send(signal.SIGTERM))
        signal.signal(signal.SIGUSR1, lambda *_: self._close_stdin())
        self._child.start(self._config, self._stdio())
        for number in self._child_ends:
            os.close(number)
        _keep("state.json", {"shim": os.getpid(), "pid": self._child.pid, "started": _now()})
        os.close(started)
        self._selector.register(wakeup, selectors.EVENT_READ)
        while self._child.status is None:
            self._relay_ready(None)
            self._child.reap()
        finished = _now()
        self._child.kill_rest()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._outputs and (left := deadline - time.monotonic()) > 0:
            self._relay_ready(left)
        self._log.end()
        _keep("exit.json", {"code": self._child.code, "finished": finished})

    def _stdio(self) -> tuple[int, int, int]:
        if self._config["tty"]:
            main, replica = os.openpty()
            self._child_ends = [replica]
            self._follow(main, "stdout")
            self._take_stdin(main)
            return replica, replica, replica
        out, err = os.pipe(), os.pipe()
        if self._config["stdin"]:
            stdin, sink = os.pipe()
            self._take_stdin(sink)
        else:
            stdin = os.open(os.devnull, os.O_RDONLY)
        self._child_ends = [stdin, out[1], err[1]]
        self._follow(out[0], "stdout")
        self._follow(err[0], "stderr")
        return stdin, out[1], err[1]

    def _follow(self, output: int, stream: str) -> None:
        self._outputs[output] = stream
        self._selector.register(output, selectors.EVENT_READ)

    def _take_stdin(self, sink: int) -> None:
        """Forward the FIFO `stdin`; the shim holds a writer too, so that clients may come and go."""
        if not self._config["stdin"]:
            return
        os.mkfifo("stdin", 0o600)
        self._stdin = sink
        self._fifo = os.open("stdin", os.O_RDWR | os.O_NONBLOCK)
        self._selector.register(self._fifo, selectors.EVENT_READ)

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._selector.unregister(self._fifo)
            os.close(self._fifo)
            if self._stdin not in self._outputs:
                os.close(self._stdin)
            self._stdin = None

    def _relay_ready(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            number = int(key.fd)
            try:
                data = os.read(number, _CHUNK)
            except BlockingIOError:
                continue
            except OSError:  # a terminal whose other side is closed
                data = b""
            stream = self._outputs.get(number)
            if stream is not None and data:
                self._log.write(stream, data)
            elif stream is not None:
                self._selector.unregister(number)
                del self._outputs[number]
            elif self._stdin is not None and number == self._fifo:
                with suppress(OSError):
                    os.write(self._stdin, data)


def run(folder: str) -> None:
    """Detach from the caller and run the container; the caller's process ends when the container has started."""
    os.chdir(folder)
    with open("config.json", encoding="utf-8") as file:
        config = json.load(file)
    started, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(started, 1)
        return
    os.setsid()
    os.close(started)
    # The lock proves that this shim lives: another process may have its process ID later.
    alive = os.open("alive", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    Run(config).go(tell)


def execute(control: int) -> int:
    """Run a command on this process's stdio and return its exit code; the end of the pipe `control` ends it."""
    with open(control, "rb", buffering=0, closefd=False) as pipe:
        size = int.from_bytes(pipe.read(8), "big")
        body = b""
        while len(body) < size:
            body += pipe.read(size - len(body))
    child = Child()
    wakeup = _wakeup()
    signal.signal(signal.SIGTERM, lambda *_: child.send(signal.SIGTERM))
    child.start(json.loads(body), (0, 1, 2))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # or readers of the command would never see the end of its output
        os.dup2(null, number)
    with selectors.DefaultSelector() as selector:
        selector.register(wakeup, selectors.EVENT_READ)
        selector.register(control, selectors.EVENT_READ)
        while child.status is None:
            for key, _ in selector.select():
                if not os.read(int(key.fd), _CHUNK) and key.fd == control:
                    selector.unregister(control)
                    child.send(signal.SIGKILL)
            child.reap()
    child.kill_rest()
    return child.code


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2])
    else:
        sys.exit(execute(int(sys.argv[3])))
