"""Fault injection for drills and tests: a service's real error, a missing answer, a failing machine, a restriction.

Clients set them over HTTPS at `https://localhost:<https port>/rehearsal/faults` with the control token of the home.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from starlette.responses import HTMLResponse, JSONResponse, Response

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.kubernetes.objects.patches import merge_patch
from rehearsal_cloud.resource_manager.operations import failing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

_IDS = itertools.count(1)


@dataclass(kw_only=True)
class Fault:
    """A fault of matching requests.

    The first `skip` matching requests succeed, the next `times` fail. `hold` delays the answer until the
    client disconnects or the fault is deleted: before the request is served, or, with `after`, afterwards. Otherwise
    the answer is `status` with `code` and `message` in Azure's error format. With `later` the request is served,
    and its operation ends in this error, as when a region runs out of machines. With `edit` the request is served, and
    its answer differs: by `status`, by `headers`, of which None removes one, and by this merge patch of the body. With
    `page` the answer is this web page, as of a network's portal or proxy, also to sign-ins. With
    `cut` the request is served, and the connection ends before the last byte of its answer.
    """

    methods: list[str] = field(default_factory=lambda: ["PUT", "POST", "PATCH", "DELETE"])
    host: str = ".*"
    path: str = ".*"
    skip: int = 0
    times: int = 1
    hold: bool = False
    after: bool = False
    later: bool = False
    edit: dict[str, Any] | None = None
    page: str = ""
    cut: bool = False
    status: int = 0
    code: str = ""
    message: str = ""
    headers: dict[str, Any] = field(default_factory=dict)
    matched: int = 0
    holding: int = 0
    id: int = field(default_factory=lambda: next(_IDS))

    def strikes(self, method: str, host: str, path: str) -> bool:
        """Count a request and tell whether it fails. Sign-ins fail by a `page` alone."""
        if method not in self.methods or (path.endswith("/token") and not self.page):
            return False
        if not re.search(self.host, host, re.IGNORECASE) or not re.search(self.path, path, re.IGNORECASE):
            return False
        self.matched += 1
        return self.skip < self.matched <= self.skip + self.times


@dataclass(kw_only=True)
class Breakdown:
    """A fault of the clusters' machines, where there is no request to fail.

    With `mount` the driver cannot mount the claims whose names match `name`, with `provision` these claims get no
    share; `message` is its error, with the volume's `{id}`, `{account}`, `{share}`, `{target}` and `{options}`. With
    `silence` the kubelet posts no status. With `disk` pods whose names match have filled their disks. With `exec`
    commands in these pods that end before they have read their input end as `message` says, see `remote_command`. With
    `logs` their ended containers are removed, and their logs with them. With `dns` no name is resolved in pods. With
    `clock` the clocks of the nodes that match `name` are `seconds` ahead, as their leases show. With `deprecation` the
    API `message` (group/version/resource) was used, which the release `name` of Kubernetes removes. With `preempt`
    Azure takes back the machines whose whole names match.
    """

    breakdown: Literal[
        "mount", "provision", "silence", "disk", "exec", "logs", "dns", "clock", "deprecation", "preempt"
    ]
    name: str = ".*"
    message: str = ""
    seconds: int = 0
    id: int = field(default_factory=lambda: next(_IDS))


@dataclass(kw_only=True)
class Restriction:
    """What the subscription or its region does not offer: listings say so, and a write that asks for it is refused.

    `name` matches what is restricted: the machine size of a `size` (in `zones`, or in the region), the family of a
    `quota` with its `limit` of cores, the software and release of a `version` ("Kubernetes 1.35"), the resource type
    that a `policy` denies or that the `region` does not have, the high availability mode of a `standby`. With `offer`
    the region takes no PostgreSQL server of this subscription, and `name` is where capabilities say so; with `clock`
    answers are `limit` seconds ahead. A `node-image` is the release of the nodes' newest image, such as 202612.01.0, a
    `registry-mode` the role assignment mode of a registry that is created without one.
    """

    restriction: Literal[
        "clock", "node-image", "offer", "policy", "quota", "region", "registry-mode", "size", "standby", "version"
    ]
    name: str = ".*"
    zones: list[str] = field(default_factory=list)
    limit: int = 0
    id: int = field(default_factory=lambda: next(_IDS))


class Faults:
    """The active faults; they end with the rehearsal's process. `changed` is set at every change of them."""

    def __init__(self) -> None:
        self._standing: dict[int, Fault] = {}
        self._breakdowns: list[Breakdown] = []
        self._restrictions: list[Restriction] = []
        self.changed = asyncio.Event()

    def breakdown(self, kind: str, name: str = "") -> Breakdown | None:
        """Return the active breakdown of this kind, matching `name` if set."""
        candidates = (standing for standing in self._breakdowns if standing.breakdown == kind)
        return next((candidate for candidate in candidates if not name or re.search(candidate.name, name)), None)

    def restriction(self, kind: str, name: str = "") -> Restriction | None:
        """Return the active restriction of this kind that matches all of `name`, regardless of case."""
        candidates = (restriction for restriction in self._restrictions if restriction.restriction == kind)
        return next((each for each in candidates if re.fullmatch(each.name, name, re.IGNORECASE)), None)

    def newest(self, kind: str, standard: str) -> str:
        """Return the name of the last restriction of this kind, without one `standard`."""
        return next((each.name for each in reversed(self._restrictions) if each.restriction == kind), standard)

    def struck(self, method: str, host: str, path: str) -> Fault | None:
        """Return the fault of a request from a client or between Azure's services, or None."""
        return next((fault for fault in list(self._standing.values()) if fault.strikes(method, host, path)), None)

    async def serve(self, request: Request, serve: Callable[[Request], Awaitable[Response]]) -> Response:
        """Serve a request, or fail it."""
        fault = self.struck(request.method, request.headers.get("host", ""), request.url.path)
        if fault is None:
            return await serve(request)
        if fault.page:
            return HTMLResponse(fault.page, fault.status)
        if fault.edit is not None or fault.cut:
            return _edited(await serve(request), fault)
        error = ServiceError(fault.status, fault.code, fault.message, headers=fault.headers)
        if fault.later:
            with failing(error):
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
        """Answer the control requests: list, add, delete all or the fault with the `id` of the body."""
        if request.method == "POST":
            fault = self._add(await request.json())
            self._change()
            return JSONResponse(asdict(fault), 201)
        if request.method == "DELETE" and await request.body():
            self._standing.pop((await request.json())["id"])
        elif request.method == "DELETE":
            self._standing.clear()
            self._breakdowns.clear()
            self._restrictions.clear()
            self._change()
        standing: list[Fault | Breakdown | Restriction] = [
            *self._standing.values(),
            *self._breakdowns,
            *self._restrictions,
        ]
        return JSONResponse([asdict(fault) for fault in standing])

    def _add(self, definition: dict[str, Any]) -> Fault | Breakdown | Restriction:
        if "breakdown" in definition:
            self._breakdowns.append(Breakdown(**definition))
            return self._breakdowns[-1]
        if "restriction" in definition:
            self._restrictions.append(Restriction(**definition))
            return self._restrictions[-1]
        fault = Fault(**definition)
        self._standing[fault.id] = fault
        return fault

    def _change(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


def _edited(response: Response, fault: Fault) -> Response:
    body = (
        json.dumps(merge_patch(json.loads(bytes(response.body)), fault.edit)).encode() if fault.edit else response.body
    )
    headers = {**response.headers, **{name.lower(): value for name, value in fault.headers.items()}}
    kept = {name: value for name, value in headers.items() if value is not None and name != "content-length"}
    if fault.cut:
        kept["content-length"] = str(len(body) + 1)
    return Response(body, fault.status or response.status_code, kept)
