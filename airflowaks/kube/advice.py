"""Advice on a refused object or a roll-out that fails, by the reason and the words of the component that gave it.

The texts of the kubelet, scheduler and controllers were measured with Kubernetes 1.36.2 and containerd 1.6.
"""

from __future__ import annotations

from typing import NamedTuple

_PULL = "Run step 2, which imports the image and lets the cluster's nodes pull it."
_CONFIG_MAPS = "Run step 7, which applies the ConfigMaps, or correct the name in the manifest."


class _Advice(NamedTuple):
    """An action for reasons, of which the message has one of `words` (in lower case; none: any message)."""

    reasons: tuple[str, ...]
    words: tuple[str, ...]
    action: str


# The first that matches counts.
_ALL = (
    _Advice(("ErrImagePull", "ImagePullBackOff"), (), _PULL),
    _Advice(("ErrImageNeverPull",), (), "Remove `imagePullPolicy: Never` from the manifest: the node has to pull."),
    _Advice(("InvalidImageName",), (), "Correct the image's name in the manifest or in `registry.repository`."),
    _Advice(
        ("FailedMount",),
        ("secrets-store", "secrets store"),
        "Run step 5, which gives the pods their identity and its role on the vault, then this step again.",
    ),
    _Advice(("FailedMount", "CreateContainerConfigError"), ("configmap",), _CONFIG_MAPS),
    _Advice(
        ("CreateContainerConfigError",),
        ("non-root", "runasnonroot"),
        "Use an image whose user is a number other than 0, or set `runAsUser` in the manifest.",
    ),
    _Advice(
        ("FailedMount", "CreateContainerConfigError"),
        ("secret",),
        "Run step 5: the Secret exists only while a pod mounts the vault's volume.",
    ),
    _Advice(
        ("FailedMount", "FailedAttachVolume"),
        (),
        "Correct the volume that the message names, or run step 6, which creates the claims; then run this step again.",
    ),
    _Advice(
        ("Unschedulable",),
        ("persistentvolumeclaim",),
        "Run step 6, which creates the claims; `kubectl describe pvc` says why one is not bound.",
    ),
    _Advice(
        ("Unschedulable",),
        ("insufficient", "too many pods"),
        "Raise `cluster.node_pool.max_count` in the environment file, or choose a larger VM size.",
    ),
    _Advice(
        ("Unschedulable",),
        ("affinity", "selector", "topology"),
        "Correct the pod's node selector, affinity or spread in the manifest, or label a node as it asks.",
    ),
    _Advice(("Unschedulable",), ("taint",), "Let the pod tolerate the taint, or use nodes without it."),
    _Advice(("OOMKilled",), (), "Raise the component's memory in the environment file, then run the step again."),
    _Advice(
        ("FailedCreate",), ("exceeded quota",), "Raise the namespace's ResourceQuota, or lower the pods' requests."
    ),
    _Advice(
        ("FailedCreate",),
        ("failed quota", "usage per ", "limit to request ratio per "),
        "Set the requests and limits, or the claim's size, as the namespace's ResourceQuota and LimitRange ask, or"
        " change these.",
    ),
    _Advice(
        ("FailedCreate",),
        ("is being terminated",),
        "Wait until the namespace is deleted, or remove the finalizer that keeps it; then run the deployment again.",
    ),
    _Advice(("FailedCreate",), ("service account",), "Run step 5, which creates the accounts, then this step again."),
    _Advice(
        ("FailedCreate",),
        ("podsecurity",),
        "Correct in the manifest what the message lists, or relax the label pod-security.kubernetes.io/enforce.",
    ),
)


def advise(reason: str, message: str, otherwise: str) -> str:
    """Return the action for a reason and its message, or `otherwise`."""
    text = message.lower()
    for reasons, words, action in _ALL:
        if reason in reasons and (not words or any(word in text for word in words)):
            return action
    return otherwise
