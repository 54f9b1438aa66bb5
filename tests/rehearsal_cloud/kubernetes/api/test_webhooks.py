"""Webhooks that nobody answers refuse what they were to see, in the words of a real control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Refused, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.control_plane import ClusterApi

PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
NAME = "nobody.example.com"


@pytest.fixture
def space(cluster_api: ClusterApi) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


@pytest.fixture
def hook(space: Workspace) -> Iterator[dict[str, Any]]:
    """A webhook for ConfigMaps with the label `seen`, whose service does not exist."""
    webhook = {
        "name": NAME,
        "clientConfig": {"service": {"name": "nobody", "namespace": space.namespace, "path": "/look"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "objectSelector": {"matchLabels": {"seen": "yes"}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    yield space.call("POST", PATH, {**kind, "metadata": {"name": space.namespace}, "webhooks": [webhook]})
    space.call("DELETE", f"{PATH}/{space.namespace}")


def create(space: Workspace, name: str) -> None:
    space.create("ConfigMap", name, metadata={"labels": {"seen": "yes"}})


def refusal(space: Workspace) -> str:
    with pytest.raises(Refused) as refused:
        create(space, "refused")
    status = refused.value.status
    assert (status["code"], status["reason"]) == (500, "InternalError")
    message: str = status["message"]
    assert status["details"]["causes"] == [{"message": message.removeprefix("Internal error occurred: ")}]
    return message.replace("failed to call webhook: ", "")  # which Kubernetes 1.20 does not say


def test_a_webhook_without_a_service_refuses_what_it_was_to_see(space: Workspace, hook: dict[str, Any]) -> None:
    url = f"https://nobody.{space.namespace}.svc:443/look?timeout=10s"

    def is_known() -> bool:  # the API server reads the configuration a moment later
        try:
            space.call("POST", space.path("ConfigMap") + "?dryRun=All", refused_body())
        except Refused:
            return True
        return False

    def refused_body() -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "refused", "labels": {"seen": "yes"}}}

    space.eventually(is_known)
    assert refusal(space) == (
        f'Internal error occurred: failed calling webhook "{NAME}": Post "{url}": service "nobody" not found'
    )
    space.create("ConfigMap", "unseen")
    hook["webhooks"][0]["failurePolicy"] = "Ignore"
    space.call("PUT", f"{PATH}/{space.namespace}", hook)
    space.eventually(lambda: not is_known())
    create(space, "ignored")
