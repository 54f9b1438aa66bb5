"""What converge would do to a resource, judged from its facts alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflowaks.engine.changes import Action, Difference, show
from airflowaks.engine.resource import ADOPTED
from airflowaks.errors import ImmutableProperty, UpgradeRequired

if TYPE_CHECKING:
    from airflowaks.engine.resource import Resource


def assess(resource: Resource) -> tuple[Action, tuple[Difference, ...]]:
    """Return what to do to a resource, from its facts alone.

    Raises:
        ImmutableProperty: no update can do it.
        UpgradeRequired: it has another version than the environment's.

    """
    facts = resource.facts
    differences = resource.differences()
    if facts is None:
        return Action.CREATE, differences
    if resource.origin == ADOPTED:
        return Action.KEEP if differences else Action.NONE, differences
    _check_versions(resource)
    _check_immutable(resource, differences)
    return Action.UPDATE if differences or resource.needs_rewrite(facts) else Action.NONE, differences


def _check_versions(resource: Resource) -> None:
    if outdated := resource.outdated():
        message = f"{resource} has another version than the environment file: {'; '.join(map(str, outdated))}."
        action = "Plan its upgrade with 10_upgrade, or set the version back in the environment file."
        raise UpgradeRequired(message, action)


def _check_immutable(resource: Resource, differences: tuple[Difference, ...]) -> None:
    for difference in differences:
        changed = re.sub(r"\[\d+\]", "[]", difference.path)
        if any(changed == path or changed.startswith((f"{path}.", f"{path}[")) for path in resource.immutable):
            before, after = show(difference.before), show(difference.after)
            message = f"{resource} has {difference.path} = {before} and cannot be changed to {after}."
            action = "Set it back in the environment file, or delete the resource yourself and run the step again."
            raise ImmutableProperty(message, action)
