"""A controller: a reconcile loop that watched objects wake."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.work_queue import Key, WorkQueue
from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.objects.objects import Event
from rehearsal_cloud.kubernetes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.kubernetes.state import ClusterState

_LOG = logging.getLogger(__name__)


class Controller(ABC):
    """One reconcile loop. A change of a watched kind becomes keys, and each key is reconciled on its own.

    The store is in this process and answers at once, so a `reconcile` that awaits nothing sees one unchanging state
    and needs neither expectations nor caches.
    """

    component: ClassVar[str]
    """Who its events are from."""
    watches: ClassVar[tuple[str, ...]]
    """The kinds whose changes wake it; none named are all."""

    def __init__(self, cluster: ClusterState) -> None:
        self.cluster = cluster
        self.objects = cluster.objects
        self.queue = WorkQueue()
        self.recorder = Recorder(cluster.objects, self.component)

    @abstractmethod
    def keys(self, event: Event) -> Iterable[Key]:
        """Return the keys to reconcile because of this event."""

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Reconcile the object that the key names; return the seconds after which to reconcile it again, if any."""

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        subscription = self.objects.subscribe(*self.watches)
        try:
            # The existing objects; the subscription is active already, so no change is missed.
            for kind in self.watches or sorted(
                {kind_info.kind for kind_info in self.cluster.kinds if kind_info.stored}
            ):
                for document in self.objects.list(kind):
                    self._wake(Event("ADDED", document, int(document["metadata"]["resourceVersion"]), kind))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._work())
                async for event in subscription:
                    self._wake(event)
        finally:
            subscription.close()
            self.queue.close()

    def _wake(self, event: Event) -> None:
        for key in self.keys(event):
            self.queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self.queue.next()
            try:
                after = await self.reconcile(key)
            except Failure as failure:
                # Rejected for now, for example by a quota; the object's events have the reason.
                _LOG.info("%s: %s: %s", self.component, "/".join(key), failure.message)
                self.queue.retry(key)
            except Exception:  # noqa: BLE001 - a controller never gives up on a key
                _LOG.exception("%s: %s failed", self.component, "/".join(key))
                self.queue.retry(key)
            else:
                self.queue.forget(key)
                if after is not None:
                    self.queue.add_after(key, after)
            await asyncio.sleep(0)
