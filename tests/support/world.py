"""An API server, and a namespace of a test's own to apply manifests in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks.engine.converge import converge
from airflowaks.engine.resource import Facts, Resource
from airflowaks.kube.client import Kube, Reference, connect
from airflowaks.kube.objects import KubeObject, objects
from airflowaks.session import Mode, Session

if TYPE_CHECKING:
    from pathlib import Path

    from airflowaks.cloud.cluster import Address
    from airflowaks.cloud.connection import Connection
    from airflowaks.config.environment import Environment


class Existing(Resource):
    """What is there without anybody's doing, for other resources to be within."""

    kind = "existing"
    id = "existing"

    def read(self) -> Facts:
        return {}

    def desired(self) -> Facts:
        return {}

    def write(self, facts: Facts | None) -> None:
        raise AssertionError(facts)


class Missing(Existing):
    """What is not there, and which nothing can be within."""

    def read(self) -> None:  # type: ignore[override]
        return None


@dataclass(frozen=True)
class Server:
    """An API server, and how it is signed in to as its administrator."""

    environment: Environment
    connection: Connection
    address: Address


@dataclass(frozen=True)
class World:
    """An API server, a namespace of the test's own there, and a folder for its manifests."""

    server: Server
    namespace: str
    folder: Path

    def session(self, mode: Mode = "apply") -> Session:
        session = Session(self.server.environment, mode, self.server.connection)
        session._once.made[connect,] = Kube(session, self.server.address)
        return session

    @property
    def kube(self) -> Kube:
        return self.session().memoize(connect)

    def describe(self, text: str) -> None:
        """Write the manifests of `objects`, in place of those before."""
        (self.folder / "objects.yaml").write_text(text)

    def objects(self, session: Session, **values: Any) -> list[KubeObject]:
        given = {"NAMESPACE": self.namespace, **values}
        return objects(self.folder.name, given, parent=Existing(session, "cluster"))

    def apply(self, text: str, **values: Any) -> list[KubeObject]:
        """Apply manifests, and return the objects."""
        self.describe(text)
        session = self.session()
        made = self.objects(session, **values)
        converge(session, *made)
        return made

    def reference(self, kind: str, name: str, api_version: str = "v1") -> Reference:
        return Reference(api_version, kind, name, self.namespace)

    def version(self, one: KubeObject) -> str:
        document = self.kube.get(one.reference)
        assert document
        return str(document["metadata"]["resourceVersion"])
