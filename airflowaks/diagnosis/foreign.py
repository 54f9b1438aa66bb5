"""Fixes of what others have done beside the steps: they delete what somebody made, and remove what somebody added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis import kubectl
from airflowaks.engine.changes import Action, Changes, Difference
from airflowaks.kube.additions import removal
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.ownership import taking_over

if TYPE_CHECKING:
    from airflowaks.kube.objects import KubeObject
    from airflowaks.session import Session


def delete_object(session: Session, api_version: str, kind: str, name: str, namespace: str = "") -> Changes:
    """Delete an object, and record by whom it was made and its spec; a missing object is no change."""
    reference = Reference(api_version, kind, name, namespace or session.environment.cluster.namespace)
    if (document := session.memoize(connect).get(reference)) is None:
        return Changes()
    metadata = document["metadata"]
    managers = [entry["manager"] for entry in metadata.get("managedFields", ()) if not entry.get("subresource")]
    made = f"by {', '.join(dict.fromkeys(managers)) or 'an unknown manager'} at {metadata.get('creationTimestamp')}"
    differences = (Difference("made", made, None), Difference("spec", document.get("spec"), None))
    return kubectl.write(session, document, Action.DELETE, differences=differences)


def remove_additions(session: Session, resource: KubeObject) -> Changes:
    """Remove from an object of the steps what others have added to it; their values may be secrets, and stay unseen."""
    with session.translated(resource), taking_over(session):
        if (document := resource.refresh()) is None or not (added := resource.additions()):
            return Changes()
        differences = tuple(Difference(each.path, f"(set by {each.by} at {each.at})", None) for each in added)
        return kubectl.write(session, document, Action.UPDATE, removal(document, added), differences)
