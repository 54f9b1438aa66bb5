"""Images: why nodes cannot pull them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.access import open_registry
from airflowaks.diagnosis.rules.rule import DOWNSTREAM, NO_NEW_PODS, Cause, Section, components_of, missing
from airflowaks.steps import registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_EFFECTS = ("AKA-206", *NO_NEW_PODS, *DOWNSTREAM)
_LEARN = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/extensions/cannot-pull-image-from-acr-to-aks-cluster"
IMAGES = Section("event", "container", effects=_EFFECTS, link=_LEARN)


@IMAGES.rule("AKA-201", remedy=registry.pull_access)
def _nodes_lack_acr_pull(facts: Snapshot) -> Iterable[Cause]:
    if facts.azure.registry_mode.startswith("Abac"):
        return
    lacking = missing(facts, "registry.pull_access")
    words = (("failed to authorize", "401"), ("unauthorized", "authentication required"))
    lines = IMAGES.lines(facts, *words)
    yield Cause(
        "The cluster's nodes cannot pull from the registry: the kubelet identity lacks the role AcrPull.",
        "Run step 2: it assigns the role to the kubelet identity, not to the cluster's own.",
        [*lacking, *lines],
        frozenset() if lacking else components_of(lines),
    )


@IMAGES.rule("AKA-202", remedy=registry.image)
def _image_is_missing(facts: Snapshot) -> Iterable[Cause]:
    lacking = missing(facts, "registry.image")
    lines = IMAGES.lines(facts, ("pull", ": not found"), ("manifest unknown",))
    components = components_of(lines)
    yield Cause(
        f"The image of {', '.join(sorted(components)) or 'a pod'} is not in the registry.",
        "Run step 2, which imports Airflow's image. If the tag was set by hand, push it, or run step 7 to reset it.",
        [*lacking, *lines],
        frozenset() if lacking else components,
    )


IMAGES.text_rules("AKA-203", remedy=open_registry)
IMAGES.text_rules("AKA-204")


@IMAGES.rule(
    "AKA-205",
    link="https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions",
)
def _registry_ignores_acr_pull(facts: Snapshot) -> Iterable[Cause]:
    if facts.azure.registry_mode.startswith("Abac"):
        yield Cause(
            "The registry is in the role assignment mode RBAC + ABAC, which ignores AcrPull.",
            "Set the role assignment mode to RBAC, or assign Container Registry Repository Reader to the kubelet.",
            [f"roleAssignmentMode: {facts.azure.registry_mode}", *IMAGES.lines(facts, ("failed to authorize",))],
        )


IMAGES.text_rules("AKA-206")
