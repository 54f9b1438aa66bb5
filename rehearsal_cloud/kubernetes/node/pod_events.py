"""The events of a pod, reported by the kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.recorder import Recorder


class PodEvents:
    """Records events of a pod, or of one of its containers."""

    def __init__(self, recorder: Recorder, pod: Document) -> None:
        self._recorder = recorder
        self._pod = pod
        self._inits = {spec["name"] for spec in pod["spec"].get("initContainers") or []}
        self._apps = {spec["name"] for spec in pod["spec"]["containers"]}

    def normal(self, reason: str, message: str, container: Document | None = None) -> None:
        """Record a Normal event."""
        self._recorder.normal(self._pod, reason, message, field_path=self._path(container))

    def warning(self, reason: str, message: str, container: Document | None = None) -> None:
        """Record a Warning event."""
        self._recorder.warning(self._pod, reason, message, field_path=self._path(container))

    def _path(self, container: Document | None) -> str:
        if container is None:
            return ""
        name = container["name"]
        kind = (
            "initContainers" if name in self._inits else "containers" if name in self._apps else "ephemeralContainers"
        )
        return f"spec.{kind}{{{name}}}"
