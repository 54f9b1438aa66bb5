"""The kubeconfig of all clusters, without a kubectl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rehearsal_cloud.certificates import server_context
from rehearsal_cloud.home import Home
from rehearsal_cloud.server.kubectl import write_kubeconfig
from rehearsal_cloud.store import Store
from tests.support.control_plane import managed_cluster

if TYPE_CHECKING:
    from pathlib import Path


def test_clusters_of_one_name_are_listed_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    server_context(home)  # which makes the authority
    store = Store(home.database)
    for group in ("one", "two"):
        document = managed_cluster("airflow")
        path = document["id"].replace("/resourceGroups/g/", f"/resourceGroups/{group}/")
        store.put("resources", path.lower(), {**document, "id": path})
    store.close()
    config = json.loads(write_kubeconfig(home).read_text())
    assert [cluster["name"] for cluster in config["clusters"]] == ["airflow"]
    assert [context["name"] for context in config["contexts"]] == ["airflow"]
    users = [user["name"] for user in config["users"]]
    assert config["contexts"][0]["context"]["user"] in users
    assert len(set(users)) == len(users)
