"""The status of a rehearsal, for `airflowaks rehearsal status`, as a table or as JSON."""

from __future__ import annotations

import shlex
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from rehearsal_cloud.home import Home
from rehearsal_cloud.resource_manager.resource_ids import ResourceId
from rehearsal_cloud.server import daemon
from rehearsal_cloud.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document

_HEADINGS = ("resource group", "type", "name", "state", "address")
_IMAGE_HEADINGS = ("image", "state", "seconds", "")


def facts(home: Home) -> dict[str, Any]:
    """Return the facts about the rehearsal in `home`, ready for JSON, without secrets."""
    settings, process = home.settings(), daemon.running(home)
    known_facts: dict[str, Any] = {"home": str(home.folder), "running": process is not None}
    if settings is not None and process is not None:
        known_facts |= {
            "pid": process.pid,
            "proxy": f"http://127.0.0.1:{settings.proxy_port}",
            "ca": str(home.ca_file),
            "time scale": settings.time_scale,
            "log": str(home.log),
            "requests": str(home.request_log),
            "processes": described(daemon.processes(home)),
            **_stored(home),
        }
    return known_facts


def described(processes: Sequence[psutil.Process]) -> list[str]:
    """Return the ID and the name of each process that still runs."""
    alive = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            alive.append(f"{process.pid} {process.name()}")
    return alive


def table(home: Home) -> str:
    """Return the facts as text in columns, with the next commands."""
    current = facts(home)
    command = "airflowaks rehearsal"
    if home != Home.find():
        command += f" --home {shlex.quote(str(home.folder))}"
    if not current["running"]:
        return _columns([("rehearsal cloud", "down"), ("home", current["home"]), ("start it with", f"{command} up")])
    about = [
        ("rehearsal cloud", f"up, process {current['pid']}"),
        ("home", current["home"]),
        ("proxy", f"{current['proxy']} (the way to Azure's host names)"),
        ("CA certificate", current["ca"]),
        ("durations", f"{current['time scale']:g} of Azure's"),
        ("log of faults", current["log"]),
        ("log of requests", current["requests"]),
        ("for your shell", f'eval "$({command} env)"'),
    ]
    resources = [
        (resource["group"], resource["type"], resource["name"], resource["state"], resource["address"] or "")
        for resource in current["resources"]
    ]
    images = [(image["name"], image["state"], f"{image['seconds']:g}", image["message"]) for image in current["images"]]
    shown = [_columns(about), _columns([_HEADINGS, *resources]) if resources else "No resources yet."]
    return "\n\n".join([*shown, *([_columns([_IMAGE_HEADINGS, *images])] if images else [])])


def _stored(home: Home) -> dict[str, list[dict[str, Any]]]:
    """Return the top-level resources, all resources with an address, and the built images."""
    store = Store(home.database)
    try:
        documents, images = store.scan("resources", "/"), store.scan("image-builds")
    finally:
        store.close()
    shown = [document for document in documents if document["type"].count("/") == 1 or _address(document) is not None]
    return {"resources": [_resource(document) for document in shown], "images": images}


def _resource(document: Document) -> dict[str, Any]:
    rid = ResourceId.parse(document["id"])
    assert rid is not None  # noqa: S101 - every kept document's ID is one
    address, state = _address(document), document["_state"]
    if address is not None and state == "Succeeded" and not _answers(address):
        state = "does not answer"
    about = {"id": document["id"], "group": rid.group, "type": rid.full_type, "name": "/".join(rid.names)}
    return {**about, "state": state, "address": address}


def _address(document: Document) -> str | None:
    """Return the address of the resource for clients: a host name of Azure or a local port."""
    port = document.get("_secret", {}).get("port")
    if port is not None:
        return f"localhost:{port}"
    properties = document.get("properties", {})
    host: str | None = properties.get("vaultUri") or properties.get("loginServer")
    return host


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    if host != "localhost":
        return True  # the front door answers for all of these
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
