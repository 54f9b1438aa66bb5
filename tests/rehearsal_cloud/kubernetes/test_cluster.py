"""A cluster as a whole: what runs behind one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rehearsal_cloud.home import Home
from rehearsal_cloud.kubernetes.cluster import Cluster
from rehearsal_cloud.resource_manager.cloud import Cloud
from tests.support.control_plane import managed_cluster

if TYPE_CHECKING:
    from pathlib import Path


def test_one_loop_looks_for_rotated_secrets(tmp_path: Path) -> None:
    async def tasks() -> list[str]:
        home = Home(tmp_path)
        home.services.mkdir(parents=True)
        cloud, document = Cloud(home, home.prepare()), managed_cluster()
        cloud.keep(document)
        cluster = Cluster(cloud, document)
        await cluster.start()
        try:
            return [task.get_name() for task in asyncio.all_tasks()]
        finally:
            await cluster.stop()
            cloud.store.close()

    assert asyncio.run(tasks()).count("secret rotation") == 1
