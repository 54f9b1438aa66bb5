"""Limit ranges: the defaults that they set for the containers of new pods, and the pods and claims that they refuse.

After https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/limitranger/admission.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.node_fit import resources
from rehearsal_cloud.kubernetes.controllers.resource_quotas import shown
from rehearsal_cloud.kubernetes.failures import aggregate, forbidden
from rehearsal_cloud.kubernetes.objects import lifecycle
from rehearsal_cloud.kubernetes.quantities import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

    Amounts = dict[str, str]

_CLAIM = "PersistentVolumeClaim"
_ANNOTATION = "kubernetes.io/limit-ranger"
_DEFAULTS = (("requests", "defaultRequest"), ("limits", "default"))


def complete(objects: Objects, pod: Document) -> None:
    """Set the default limits and requests of a new pod's containers, and annotate which."""
    for limit in _limits(objects, pod["metadata"]["namespace"], "Container"):
        texts = [
            f"{', '.join(sorted(names))} {way.removesuffix('s')} for {word} {container['name']}"
            for word, key in (("container", "containers"), ("init container", "initContainers"))
            for container in pod["spec"].get(key) or ()
            for way, field in _DEFAULTS
            if (names := _set(container, way, limit.get(field) or {}))
        ]
        if texts:
            annotations = pod["metadata"].get("annotations") or {}
            text = f"LimitRanger plugin set: {'; '.join(texts)}"
            pod["metadata"]["annotations"] = {**annotations, _ANNOTATION: text}


def check(objects: Objects, document: Document, old: Document | None) -> None:
    """Raise Failure (403) where a new pod, or a claim that is not being deleted, is outside of its limits."""
    measured: list[tuple[str, Amounts, Amounts | None]]
    if document["kind"] == _CLAIM and not lifecycle.is_terminating(document):
        measured = [(_CLAIM, document["spec"]["resources"].get("requests") or {}, None)]
    elif document["kind"] == "Pod" and old is None:
        containers = [*document["spec"]["containers"], *(document["spec"].get("initContainers") or ())]
        each = [container.get("resources") or {} for container in containers]
        measured = [("Container", amounts.get("requests") or {}, amounts.get("limits") or {}) for amounts in each]
        measured.append(("Pod", _total(document, "requests"), _total(document, "limits")))
    else:
        return
    wrong = [
        text
        for kind, requests, limits in measured
        for limit in _limits(objects, document["metadata"]["namespace"], kind)
        for text in _violations(limit, requests, limits)
    ]
    if wrong:
        raise forbidden(objects.kinds.of(document), document["metadata"]["name"], aggregate(wrong))


def _limits(objects: Objects, namespace: str, kind: str) -> Iterator[Document]:
    for limit_range in objects.list("LimitRange", namespace):
        yield from (limit for limit in limit_range["spec"]["limits"] if limit["type"] == kind)


def _set(container: Document, way: str, defaults: Amounts) -> list[str]:
    """Set the defaults of what a container does not name, and return their names."""
    amounts = (container.get("resources") or {}).get(way) or {}
    missing = {name: value for name, value in defaults.items() if name not in amounts}
    if missing:
        container["resources"] = {**(container.get("resources") or {}), way: {**amounts, **missing}}
    return list(missing)


def _total(pod: Document, way: str) -> Amounts:
    return {name: shown(name, value) for name, value in resources(pod, way).items()}


def _violations(limit: Document, requests: Amounts, limits: Amounts | None) -> Iterator[str]:
    """Yield what is wrong with the requests and limits of a container or a pod, or a claim's requests alone."""
    kind, wanted = limit["type"], (limits or {})
    amounts = {"request": requests, "limit": wanted}
    for word, bounds, order in (("minimum", "min", ("request", "limit")), ("maximum", "max", ("limit", "request"))):
        ways = order if limits is not None else ("request",)
        sign = 1 if bounds == "min" else -1
        for name, bound in (limit.get(bounds) or {}).items():
            usage = f"{word} {name} usage per {kind} is {bound}"
            beyond = [
                way for way in ways if name in amounts[way] and sign * (amount(amounts[way][name]) - amount(bound)) < 0
            ]
            if name not in amounts[ways[0]]:
                yield f"{usage}.  No {ways[0]} is specified"
            elif beyond:
                yield f"{usage}, but {beyond[0]} is {amounts[beyond[0]][name]}"
    for name, ratio in (limit.get("maxLimitRequestRatio") or {}).items():
        text = f"{name} max limit to request ratio per {kind} is {ratio}, but"
        missing = next((way for way in amounts if not amount(amounts[way].get(name, "0"))), "")
        if missing:
            yield f"{text} no {missing} is specified or {missing} is 0"
        elif (actual := amount(wanted[name]) / amount(requests[name])) > amount(ratio):
            yield f"{text} provided ratio is {float(actual):f}"
