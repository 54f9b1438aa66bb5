"""Resource and converge: the one place where plan, apply and check differ.

A resource knows how to read the facts, what it wants and how to write it; converge compares, and writes only in apply:

    read → compare → (apply) write → read again → wait until it works

Facts are JSON as the service answers it, and what is wanted is the part of that JSON that matters: a property that
`want` does not name is left as it is.
"""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.engine.changes import AFTER_APPLY, Action, Change, Changes, Difference, show
from airflowaks.engine.diff import compare
from airflowaks.engine.polling import REPLICATION_SECONDS, wait_until
from airflowaks.errors import AirflowAksError, ImmutableProperty, MissingDependency, NotConverged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.session import Session

Facts = Mapping[str, Any]

_SIDE_BY_SIDE = 8
_UNREAD: Any = object()


class Resource(ABC):
    """One thing that should exist, in Azure, Entra, PostgreSQL or Kubernetes.

    `parent` is the resource that it cannot exist without; `depends_on` are the resources to converge before it.
    """

    kind: str
    immutable: ClassVar[tuple[str, ...]] = ()
    """Dotted paths that no update can change; `[]` stands for any element of a list."""
    decided_by_service: ClassVar[tuple[str, ...]] = ()
    """Dotted paths whose values the service decides when it creates the resource."""
    created_path: ClassVar[str] = ""
    """Dotted path of the fact that says when it was created (ISO 8601), where the service tells."""
    settling_seconds: ClassVar[float] = 60.0
    """How long after a write the service may still answer what was before."""
    finishing_seconds: ClassVar[float] = 3600.0
    """How long an earlier write that is still under way is waited for."""

    def __init__(
        self, session: Session, name: str, *, parent: Resource | None = None, depends_on: Sequence[Resource] = ()
    ) -> None:
        self.session = session
        self.name = name
        self.parent = parent
        self.depends_on = (*depends_on, *((parent,) if parent else ()))
        self.written = False
        """Whether this session has written it."""
        self.doing = ""
        """What it waits for at the moment, in a few words, for who watches."""
        self._facts: Any = _UNREAD
        self._reading = threading.RLock()

    @property
    @abstractmethod
    def id(self) -> str:
        """Return the resource ID, or what else names it in the world."""

    @abstractmethod
    def read(self) -> Facts | None:
        """Return the facts, or None where the resource does not exist."""

    @abstractmethod
    def desired(self) -> Facts:
        """Return what should be: the part of the facts that matters."""

    @abstractmethod
    def write(self, facts: Facts | None) -> None:
        """Create the resource (`facts` is None) or update it, and return when that is done."""

    def unfinished(self, facts: Facts) -> bool:
        """Tell whether an earlier write is still under way, so that this one has to wait for it."""
        del facts
        return False

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether the resource has to be written again although its properties are as wanted."""
        del facts
        return False

    def await_ready(self) -> None:  # noqa: B027 - most resources work as soon as they exist
        """Return once what exists also works, such as a roll-out's pods: asked in apply, written just now or not."""

    def differences(self) -> tuple[Difference, ...]:
        """Return where the facts are not what is wanted."""
        return compare(self.desired(), self.facts)

    @property
    def fresh(self) -> bool:
        """Tell whether it is so new, by this session or another, that other services may not know it yet."""
        created = self.fact(self.created_path) if self.created_path else AFTER_APPLY
        if self.written or created is AFTER_APPLY:
            return self.written
        return datetime.now(UTC) - datetime.fromisoformat(created) < timedelta(seconds=REPLICATION_SECONDS)

    @property
    def facts(self) -> Facts | None:
        """Return the facts as last read, reading them the first time."""
        with self._reading:
            if self._facts is _UNREAD:
                self.refresh()
            facts: Facts | None = self._facts
        return facts

    def refresh(self) -> Facts | None:
        """Read the facts anew; nothing is asked for where `parent` does not exist."""
        gone = self.parent is not None and self.parent.facts is None
        self._facts = None if gone else self.read()
        facts: Facts | None = self._facts
        return facts

    def fact(self, path: str) -> Any:
        """Return one fact by its dotted path; AFTER_APPLY where it does not exist yet."""
        value: Any = self.facts
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return AFTER_APPLY if value is None else value

    def require(self, path: str) -> Any:
        """Return one fact by its dotted path. Raises MissingDependency where it does not exist yet."""
        value = self.fact(path)
        if value is AFTER_APPLY:
            message = (
                f"{self.kind} {self.name} does not exist yet" if self.facts is None else f"{self.name} has no {path}"
            )
            raise MissingDependency(f"{message}.", "Run the step that makes it with mode=apply first.")
        return value


def converge(session: Session, *resources: Resource) -> Changes:
    """Bring resources to what they want, those that do not need each other side by side.

    In plan and check nothing is written. After a failure nothing new is begun; what runs is waited for, what was done
    is in `session.changes`, and the first failure is raised.

    Raises:
        AirflowAksError: a resource could not be read or written, or did not become what it should.

    """
    order = TopologicalSorter({one: [need for need in one.depends_on if need in resources] for one in resources})
    order.prepare()
    changes: dict[Resource, Change] = {}
    failure: BaseException | None = None
    with session.progress.watch(resources) as progress, ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        running: dict[Future[Change], Resource] = {}
        while order.is_active():
            for resource in () if failure else order.get_ready():
                progress.began(resource)
                running[pool.submit(copy_context().run, _converge, session, resource)] = resource
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                resource = running.pop(future)
                try:
                    changes[resource] = future.result()
                except Exception as error:  # noqa: BLE001 - raised below, once what runs beside it has ended
                    failure = failure or error
                    progress.failed(resource)
                    continue
                session.changes.append(changes[resource])
                progress.ended(resource, changes[resource])
                order.done(resource)
        if failure is not None:
            raise failure
    return Changes(tuple(changes[one] for one in resources))


def _converge(session: Session, resource: Resource) -> Change:
    started = time.monotonic()
    with session.translated(resource):
        facts = resource.refresh()
        if facts is not None and session.applies and resource.unfinished(facts):
            facts = wait_until(
                resource.refresh, lambda now: now is None or not resource.unfinished(now), resource.finishing_seconds
            )
            _check_finished(resource)
        action, differences = assess(resource)
        correlation_id = ""
        if session.applies and action is not Action.NONE:
            _check_ready(resource, differences)
            with session.correlated() as correlation:
                resource.write(facts)
            correlation_id, resource.written = correlation.id, True
            wait_until(resource.refresh, lambda _: not resource.differences(), resource.settling_seconds)
            _check_converged(resource)

        def change() -> Change:
            return Change(
                kind=resource.kind,
                name=resource.name,
                action=action,
                id=resource.id,
                differences=differences,
                seconds=time.monotonic() - started,
                correlation_id=correlation_id,
                applied=session.applies and action is not Action.NONE,
            )

        if session.applies:
            try:
                resource.await_ready()
            except AirflowAksError:
                # It was written all the same.
                session.changes.append(change())
                raise
    return change()


def assess(resource: Resource) -> tuple[Action, tuple[Difference, ...]]:
    """Return what is to be done to a resource, from its facts alone. Raises ImmutableProperty where that cannot be."""
    facts = resource.facts
    differences = resource.differences()
    if facts is None:
        return Action.CREATE, differences
    _check_immutable(resource, differences)
    return Action.UPDATE if differences or resource.needs_rewrite(facts) else Action.NONE, differences


def _check_immutable(resource: Resource, differences: tuple[Difference, ...]) -> None:
    for one in differences:
        changed = re.sub(r"\[\d+\]", "[]", one.path)
        if any(changed == path or changed.startswith((f"{path}.", f"{path}[")) for path in resource.immutable):
            message = (
                f"{resource.kind} {resource.name} has {one.path} = {show(one.before)} and cannot be changed to"
                f" {show(one.after)}."
            )
            action = "Set it back in the environment file, or delete the resource yourself and run the step again."
            raise ImmutableProperty(message, action)


def _check_ready(resource: Resource, differences: tuple[Difference, ...]) -> None:
    missing = [resource.parent] if resource.parent is not None and resource.parent.facts is None else []
    unknown = [one.path for one in differences if is_unknown(one.after) and one.path not in resource.decided_by_service]
    if missing or unknown:
        lacks = f"{missing[0].kind} {missing[0].name}, which does not exist" if missing else f"a value for {unknown[0]}"
        message = f"{resource.kind} {resource.name} needs {lacks}."
        raise MissingDependency(message, "Run the steps before this one with mode=apply first.")


def is_unknown(value: Any) -> bool:
    """Tell whether a value, or anything in it, is AFTER_APPLY."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(map(is_unknown, value)) if isinstance(value, (list, tuple)) else value is AFTER_APPLY


def _check_finished(resource: Resource) -> None:
    if resource.facts is not None and resource.unfinished(resource.facts):
        message = (
            f"{resource.kind} {resource.name} is still being written by an earlier run or another tool, after"
            f" {resource.finishing_seconds / 60:.0f} minutes."
        )
        raise NotConverged(message, "See its activity log in the portal for what holds it up, then run the step again.")


def _check_converged(resource: Resource) -> None:
    left = resource.differences()
    if resource.facts is None or left:
        message = (
            f"{resource.kind} {resource.name} was written and still reads differently: "
            + ("it does not exist" if resource.facts is None else "; ".join(str(one) for one in left))
            + "."
        )
        raise NotConverged(message, "Run the step again; if it stays so, a policy or another tool is changing it back.")
