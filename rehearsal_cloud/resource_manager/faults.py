"""Faults that a drill or a test asks for: a service's real error, an answer that never comes, a machine that fails.

They are set over HTTPS at `https://localhost:<https port>/rehearsal/faults` with the control token of the home, never
by reaching into the program.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.operations import doomed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

_IDS = itertools.count(1)


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with which requests.

    The first `skip` requests that match are spared, the next `times` are struck. `hold` keeps the answer back until the
    client is gone or the fault is deleted: before the request is served, or, with `after`, once it has been. Otherwise
    the answer is `status` with `code` and `message` in the shape of Azure's errors. With `later` the request is served,
    and it is the operation it begins that ends in this error, as where a region runs out of machines.
    """

    methods: list[str] = field(default_factory=lambda: ["PUT", "POST", "PATCH", "DELETE"])
    host: str = ".*"
    path: str = ".*"
    skip: int = 0
    times: int = 1
    hold: bool = False
    after: bool = False
    later: bool = False
    status: int = 0
    code: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    matched: int = 0
    holding: int = 0
    id: int = field(default_factory=lambda: next(_IDS))

    def strikes(self, method: str, host: str, path: str) -> bool:
        """Count a request and tell whether it is struck. Sign-ins never are: they write nothing."""
        if method not in self.methods or path.endswith("/token"):
            return False
        if not re.search(self.host, host, re.IGNORECASE) or not re.search(self.path, path, re.IGNORECASE):
            return False
        self.matched += 1
        return self.skip < self.matched <= self.skip + self.times


@dataclass(kw_only=True)
class Breakdown:
    """What goes wrong on the machines of clusters, where no request could be struck.

    With `mount` their driver cannot mount the claims whose names match `name`, with `provision` none of these gets a
    share; `message` is what it says, with the volume's `{id}`, `{account}`, `{share}`, `{target}` and `{options}`. With
    `silence` their kubelet posts no status any more. With `disk` pods whose names match have filled their disks.
    """

    breakdown: Literal["mount", "provision", "silence", "disk"]
    name: str = ".*"
    message: str = ""
    id: int = field(default_factory=lambda: next(_IDS))


class Faults:
    """The faults that stand now; they are forgotten when the rehearsal ends. `changed` is set once others do."""

    def __init__(self) -> None:
        self._standing: dict[int, Fault] = {}
        self._breakdowns: list[Breakdown] = []
        self.changed = asyncio.Event()

    def breakdown(self, kind: str, name: str = "") -> Breakdown | None:
        """Return the breakdown of that kind which stands, and is about `name` where one is given."""
        ours = (one for one in self._breakdowns if one.breakdown == kind)
        return next((one for one in ours if not name or re.search(one.name, name)), None)

    def struck(self, method: str, host: str, path: str) -> Fault | None:
        """Return the fault that strikes a request, of a client or of one service of Azure to another."""
        return next((one for one in list(self._standing.values()) if one.strikes(method, host, path)), None)

    async def serve(self, request: Request, serve: Callable[[Request], Awaitable[Response]]) -> Response:
        """Serve a request, or strike it."""
        fault = self.struck(request.method, request.headers.get("host", ""), request.url.path)
        if fault is None:
            return await serve(request)
        error = ServiceError(fault.status, fault.code, fault.message, headers=fault.headers)
        if fault.later:
            with doomed(error):
                return await serve(request)
        if not fault.hold:
            return error.response()
        response = await serve(request) if fault.after else None
        fault.holding += 1
        try:
            while fault.id in self._standing and not await request.is_disconnected():  # noqa: ASYNC110 - two conditions
                await asyncio.sleep(0.01)
        finally:
            fault.holding -= 1
        return response or Response(None, 503)

    async def control(self, request: Request) -> Response:
        """Answer the control requests: list, add, delete all."""
        if request.method == "POST":
            made = self._add(await request.json())
            self._change()
            return JSONResponse(asdict(made), 201)
        if request.method == "DELETE":
            self._standing.clear()
            self._breakdowns.clear()
            self._change()
        standing: list[Fault | Breakdown] = [*self._standing.values(), *self._breakdowns]
        return JSONResponse([asdict(one) for one in standing])

    def _add(self, wanted: dict[str, Any]) -> Fault | Breakdown:
        if "breakdown" in wanted:
            self._breakdowns.append(Breakdown(**wanted))
            return self._breakdowns[-1]
        fault = Fault(**wanted)
        self._standing[fault.id] = fault
        return fault

    def _change(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()
