"""Drills of sources that cannot be asked: each is a finding, and the others are looked at all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.steps import backend
from tests.support.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Act, Scene

SOURCES = Drills()
_DOWN = {"status": 503, "code": "ServiceUnavailable", "message": "The service is unavailable."}


def _down(rule: str, what: str, methods: str, host: str, path: str = ".*", also: tuple[str, ...] = ()) -> Act:
    """A service answers 503 for as long as it likes."""

    def act(scene: Scene) -> Iterator[None]:
        scene.refuse(methods=[methods], host=host, path=path, **_DOWN)
        yield
        scene.serve()

    act.__name__ = f"{what}_is_down"
    return SOURCES.drill(rule, also=also)(act)


_down("AKA-001", "resource_manager", "GET", r"management\.azure\.com")
_down(
    *("AKA-002", "the_way_to_the_cluster", "POST", r"management\.azure\.com", "/listClusterUserCredential$"),
    also=("AKA-003", "AKA-005", "AKA-009"),
)
_down("AKA-007", "graph", "GET", r"graph\.microsoft\.com")
_down("AKA-008", "the_vault", "GET", r"vault\.azure\.net")


@SOURCES.drill("AKA-003")
def airflow_lets_nobody_sign_in(scene: Scene) -> Iterator[None]:
    scene.as_airflow("UPDATE ab_user SET active = false")
    yield
    scene.as_airflow("UPDATE ab_user SET active = true")


@SOURCES.drill("AKA-004")
def the_role_may_have_no_connection(scene: Scene) -> Iterator[None]:
    role = scene.step(backend).role.name
    scene.administer(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    yield
    scene.administer(f"ALTER ROLE {role} CONNECTION LIMIT -1")
