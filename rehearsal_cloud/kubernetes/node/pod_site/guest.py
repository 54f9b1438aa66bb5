"""The pod network inside containers: pod and service addresses, cluster DNS and the pod's own loopback.

A `.pth` file in every image's environment imports it from here (AIRFLOWAKS_GUEST). It is active only where
AIRFLOWAKS_POD names the pod's folder in the cluster's `network` folder. Pod addresses are symbolic: a program that
listens at a port gets a free port of 127.0.0.1, recorded as `pods/<pod IP>/<port>`, and connections to the pod's
address and port go there. `services.json`, which the node writes, has the tables of kube-proxy and CoreDNS.

Only the standard library is available, and only Python's sockets are redirected: uvloop, which bypasses them, cannot
be imported. There is no pathlib and no package, because this runs at the start of every program of every container.
"""

# ruff: noqa: INP001, PTH105, PTH112, PTH116, PTH118, PTH120, PTH123, PTH208

import contextlib
import errno
import ipaddress
import json
import os
import random
import socket
import sys
from typing import Any

_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - the names under which a pod listens on all its addresses
_LOOPBACK = ("127.0.0.1", "::1", "localhost", "::ffff:127.0.0.1")

_bind = socket.socket.bind
_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_getsockname = socket.socket.getsockname
_getaddrinfo = socket.getaddrinfo
_gethostbyname = socket.gethostbyname
_uname = os.uname


class Pod:
    """The pod of this process: its address and name, its listeners, and the tables of the network."""

    def __init__(self, folder: str) -> None:
        with open(os.path.join(folder, "pod.json"), encoding="utf-8") as file:
            about = json.load(file)
        self.ip: str = about["ip"]
        self.hostname: str = about["hostname"]
        self._namespace: str = about["namespace"]
        self._own = folder
        self._pods = os.path.dirname(folder)
        self._networks = [ipaddress.ip_network(network) for network in about["networks"]]
        self._services = os.path.join(os.path.dirname(self._pods), "services.json")
        self._read: tuple[int, dict[str, Any]] = (0, {"names": {}, "services": {}, "ingress": {}, "egress": {}})
        # A spawned worker has listeners that its parent bound.
        self.bound = {record["port"]: int(port) for port, record in self._records()}

    # Listening

    def _records(self) -> list[tuple[str, dict[str, Any]]]:
        ports = [name for name in os.listdir(self._own) if name.isdigit()]
        return [(port, record) for port in ports if (record := self._record(self.ip, int(port))) is not None]

    def _record(self, ip: str, port: int) -> dict[str, Any] | None:
        """Return the listener at a pod's port; a record without a living process is ignored."""
        try:
            with open(os.path.join(self._pods, ip, str(port)), encoding="utf-8") as file:
                record: dict[str, Any] = json.load(file)
            os.kill(record["pid"], 0)
        except (OSError, ValueError):
            return None
        return record

    def check_free(self, port: int, *, shared: bool) -> None:
        """Raise OSError (EADDRINUSE) where the pod listens at `port` already, unless both share it."""
        if not shared and port and self._record(self.ip, port) is not None:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    def listens(self, port: int, real: int, *, loopback: bool) -> None:
        """Record the machine's port `real` behind the pod's `port`."""
        port = port or real
        self.bound[real] = port
        path = os.path.join(self._own, str(port))
        fresh = f"{path}.{os.getpid()}"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump({"port": real, "pid": os.getpid(), "loopback": loopback}, file)
        os.replace(fresh, path)

    # Connecting

    def destination(self, ip: str, port: int) -> "tuple[str, int] | None":
        """Return the real address of a cluster address, or None outside the cluster. Raises OSError like a network."""
        if ip in _LOOPBACK or ip in _ANY:
            if (record := self._record(self.ip, port)) is not None:
                return "127.0.0.1", record["port"]
            self._check_leaves(port)
            return None
        if not self._inside(ip):
            self._check_leaves(port)
            return None
        service = self._table()["services"].get(ip)
        if service is not None:
            backends = service.get(str(port))
            if not backends:
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            ip, port = random.choice(backends)  # noqa: S311 - kube-proxy's choice is as random
            if ip == "127.0.0.1":
                return ip, port
        return self._pod(ip, port)

    def _check_leaves(self, port: int) -> None:
        """Raise OSError where no connection may leave the cluster; the backend listens on this machine's loopback."""
        rules = self._table()["egress"].get(self.ip)
        if rules is not None and not any(rule["outside"] and _has_port(rule, port) for rule in rules):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _pod(self, ip: str, port: int) -> tuple[str, int]:
        if not os.path.isdir(os.path.join(self._pods, ip)):
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        if ip != self.ip and not self._admitted(ip, port):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))  # a policy drops packets, without a word
        record = self._record(ip, port)
        if record is None or (record["loopback"] and ip != self.ip):
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return "127.0.0.1", record["port"]

    def _inside(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip.removeprefix("::ffff:"))
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _admitted(self, ip: str, port: int) -> bool:
        table = self._table()
        sides = ((table["egress"].get(self.ip), ip), (table["ingress"].get(ip), self.ip))
        return all(rules is None or any(_allows(rule, peer, port) for rule in rules) for rules, peer in sides)

    # Names

    def check_answered(self, name: str) -> None:
        """Raise gaierror where the cluster's DNS answers nothing; `localhost` is the name of the backend's servers."""
        if self._table().get("unanswered") and name != self.hostname and not name.replace(".", "").isdigit():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    def addresses(self, name: str) -> "list[str] | None":
        """Return the addresses of a name: [] for an unknown cluster name, None for names outside the cluster."""
        name = name.lower().rstrip(".")
        self.check_answered(name)
        if name == self.hostname:
            return [self.ip]
        names = self._table()["names"]
        for suffix in ("", f".{self._namespace}.svc.cluster.local", ".svc.cluster.local", ".cluster.local"):
            if name + suffix in names:
                addresses: list[str] = names[name + suffix]
                return addresses
        return [] if name.endswith(".cluster.local") else None

    def _table(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            changed = os.stat(self._services).st_mtime_ns
            if changed != self._read[0]:
                with open(self._services, encoding="utf-8") as file:
                    self._read = (changed, json.load(file))
        return self._read[1]


def _allows(rule: dict[str, Any], peer: str, port: int) -> bool:
    return (rule["peers"] is None or peer in rule["peers"]) and _has_port(rule, port)


def _has_port(rule: dict[str, Any], port: int) -> bool:
    return rule["ports"] is None or any(low <= port <= high for low, high in rule["ports"])


def _activate(pod: Pod) -> None:  # noqa: C901 - one small function for each call that is replaced
    def inet(sock: socket.socket) -> bool:
        return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM

    def local(sock: socket.socket, port: int) -> "tuple[str, int]":
        return ("::ffff:127.0.0.1" if sock.family == socket.AF_INET6 else "127.0.0.1", port)

    def bind(sock: socket.socket, address: Any) -> None:
        host = address[0] if inet(sock) else None
        if host is None or not (host in _ANY or host in _LOOPBACK or host in (pod.ip, pod.hostname)):
            return _bind(sock, address)
        if sock.family == socket.AF_INET6 and sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            # asyncio's second listener next to the IPv4 one: the pod network has no IPv6. On ::1 it could get the
            # number of a port that this machine serves at 127.0.0.1, and whoever asks `localhost` would reach it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            return _bind(sock, local(sock, 0))
        pod.check_free(address[1], shared=bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)))
        _bind(sock, local(sock, 0))
        pod.listens(address[1], _getsockname(sock)[1], loopback=host in _LOOPBACK)
        return None

    def reached(sock: socket.socket, address: Any) -> Any:
        target = pod.destination(str(address[0]), int(address[1])) if inet(sock) else None
        return address if target is None else local(sock, target[1])

    def connect(sock: socket.socket, address: Any) -> None:
        _connect(sock, reached(sock, address))

    def connect_ex(sock: socket.socket, address: Any) -> int:
        try:
            address = reached(sock, address)
        except OSError as fault:
            return fault.errno or errno.ECONNREFUSED
        return _connect_ex(sock, address)

    def getsockname(sock: socket.socket) -> Any:
        name = _getsockname(sock)
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return name
        if sock.type == socket.SOCK_DGRAM:  # programs ask a datagram's socket for the machine's address
            return name if name[0] in (*_ANY, *_LOOPBACK) else (pod.ip, *name[1:])
        return (name[0], pod.bound[name[1]], *name[2:]) if name[1] in pod.bound else name

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        addresses = pod.addresses(name) if isinstance(name, str) else None
        if addresses is None:
            return _getaddrinfo(host, port, *arguments, **named)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry for address in addresses for entry in _getaddrinfo(address, port, *arguments, **named)]

    def gethostbyname(host: str) -> str:
        addresses = pod.addresses(host)
        if addresses is None:
            return _gethostbyname(host)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return addresses[0]

    def gethostbyname_ex(host: str) -> "tuple[str, list[str], list[str]]":
        return host, [], [gethostbyname(host)]

    def getfqdn(name: str = "") -> str:
        return pod.hostname if name in ("", "0.0.0.0", "::", pod.ip, pod.hostname) else name  # noqa: S104 - as above

    def gethostname() -> str:
        return pod.hostname

    def uname() -> os.uname_result:
        real = _uname()
        return os.uname_result((real.sysname, pod.hostname, real.release, real.version, real.machine))

    for replacement in (bind, connect, connect_ex, getsockname):
        setattr(socket.socket, replacement.__name__, replacement)
    for function in (getaddrinfo, gethostbyname, gethostbyname_ex, getfqdn, gethostname):
        setattr(socket, function.__name__, function)
    os.uname = uname
    # libuv bypasses Python's sockets; without uvloop programs fall back to asyncio's loop.
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # how Python marks a module that must not be found


if "AIRFLOWAKS_POD" in os.environ:
    with contextlib.suppress(FileNotFoundError):  # the pod is gone, and its processes are ending
        _activate(Pod(os.environ["AIRFLOWAKS_POD"]))
