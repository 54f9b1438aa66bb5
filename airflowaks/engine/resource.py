"""A resource: it reads its facts, states what is desired, and writes it.

Facts are JSON as the service answers it, and what is wanted is the part of that JSON that matters: a property that
`want` does not name is left as it is.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.engine.changes import AFTER_APPLY, Difference
from airflowaks.engine.diff import compare
from airflowaks.engine.polling import REPLICATION_SECONDS
from airflowaks.engine.times import seconds_since
from airflowaks.errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflowaks.session import Session

Facts = Mapping[str, Any]

MADE_HERE, ADOPTED = "made here", "adopted"
"""The origins of a resource: the runbook created and marked it, or it exists without the environment's mark."""

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

    def __init__(
        self, session: Session, name: str, *, parent: Resource | None = None, depends_on: Sequence[Resource] = ()
    ) -> None:
        self.session = session
        self.name = name
        self.parent = parent
        self.depends_on = (*depends_on, *((parent,) if parent else ()))
        self.needs: tuple[Resource, ...] = ()
        """What must work before it is written, beyond what reading it takes."""
        self.step = 0
        """The number of the step that makes it."""
        self.settled = False
        """Whether this session has brought it to its desired state, or has seen it there."""
        self.written = False
        """Whether this session has written it."""
        self.unread = ""
        """What a check could not compare, and the right that this needs: "its value needs …"."""
        self.activity = ""
        """What it waits for at the moment, in a few words."""
        self._facts: Any = _UNREAD
        self._reading = threading.RLock()
        self.awaiting = threading.Lock()
        """Held while one of the threads that wait for it looks at it."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

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

    def delete(self) -> None:
        """Delete the resource, which exists, and return when that is done. Raises TypeError: most resources stay."""
        raise TypeError(f"{self.kind} cannot be removed")

    @property
    def origin(self) -> str:
        """Return MADE_HERE or ADOPTED, or nothing for a missing resource and for a kind that has no mark.

        An adopted resource is used as it is: never updated, never deleted.
        """
        return ""

    @property
    def note(self) -> str:
        """Return a sentence that the operator should read about the resource, or nothing."""
        return ""

    @property
    def finishing_seconds(self) -> float:
        """Return how long an earlier write that is still under way is waited for."""
        return 3600.0

    def unfinished(self, facts: Facts) -> bool:
        """Tell whether an earlier write is still under way, so that this one has to wait for it."""
        del facts
        return False

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether the resource must be written again although its properties are up to date."""
        del facts
        return False

    def await_ready(self) -> None:  # noqa: B027 - most resources work as soon as they exist
        """Return once what exists also works, such as a roll-out's pods: asked in apply, written just now or not."""

    def differences(self) -> tuple[Difference, ...]:
        """Return where the facts are not what is wanted."""
        return compare(self.desired(), self.facts)

    def outdated(self) -> tuple[Difference, ...]:
        """Return where a version is not the environment's, which only the upgrade notebook changes: no write does."""
        return ()

    def holder(self, path: str) -> str:
        """Return who else has set the fact at a difference's path, where an apply would be refused for it, and when."""
        del path
        return ""

    @property
    def recently_written(self) -> bool:
        """Tell whether this session wrote it, or any created it so recently that other services may not know it."""
        created = self.fact(self.created_path) if self.created_path else AFTER_APPLY
        if self.written or created is AFTER_APPLY:
            return self.written
        return seconds_since(created) < REPLICATION_SECONDS

    @property
    def facts(self) -> Facts | None:
        """Return the facts as last read, reading them the first time."""
        with self._reading:
            if self._facts is _UNREAD:
                first = self._read_below_parent()
                # While a slow answer was on its way, `refresh` may have read later ones.
                self._facts = first if self._facts is _UNREAD else self._facts
            facts: Facts | None = self._facts
        return facts

    @property
    def absent(self) -> bool:
        """Tell whether it was read and did not exist, or its parent did not; nothing is read for it."""
        unread_below = self._facts is _UNREAD and self.parent is not None and self.parent.absent
        return self._facts is None or unread_below

    def refresh(self) -> Facts | None:
        """Read the facts again; without `parent` there are none, and the service is not asked."""
        self._facts = facts = self._read_below_parent()
        return facts

    def _read_below_parent(self) -> Facts | None:
        return None if self.parent is not None and self.parent.facts is None else self.read()

    def fact(self, path: str) -> Any:
        """Return one fact by its dotted path; AFTER_APPLY where it does not exist yet."""
        value = value_at(self.facts, path)
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


def resources_of(made: object) -> Iterator[Resource]:
    """Yield the resources that `made` has as attributes, alone or in collections."""
    for value in vars(made).values():
        values = (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else [value]
        )
        yield from (item for item in values if isinstance(item, Resource))


def set_step(step: int, made: object) -> None:
    """Note at the resources of `made` that this step makes them, unless an earlier one does."""
    for resource in resources_of(made):
        resource.step = resource.step or step


def value_at(facts: Facts | None, path: str) -> Any:
    """Return the value at a dotted path, or None where there is no such value."""
    value: Any = facts
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
