"""Azure resource IDs, parsed from paths of Resource Manager.

Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules and the paths that the
SDKs send. Comparison is case-insensitive; the first spelling is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

REGIONS = (
    *("Australia Central", "Australia East", "Australia Southeast", "Austria East", "Belgium Central", "Brazil South"),
    *("Canada Central", "Canada East", "Central India", "Central US", "Chile Central", "East Asia", "East US"),
    *("East US 2", "France Central", "Germany West Central", "Indonesia Central", "Israel Central", "Italy North"),
    *("Japan East", "Japan West", "Korea Central", "Korea South", "Malaysia West", "Mexico Central"),
    *("New Zealand North", "North Central US", "North Europe", "Norway East", "Poland Central", "Qatar Central"),
    *("South Africa North", "South Central US", "South India", "Southeast Asia", "Spain Central", "Sweden Central"),
    *("Switzerland North", "UAE North", "UK South", "UK West", "West Central US", "West Europe", "West US"),
    *("West US 2", "West US 3"),
)
"""The physical regions of the public cloud that have all of these services, by their display names."""


@dataclass(frozen=True)
class ResourceId:
    """A resource, or a collection of resources (`name` is empty), or an action on one, below a scope.

    `scope` is the ID that the last `/providers/` hangs from: a subscription, a resource group, or, for extension
    resources such as role assignments, another resource.
    """

    scope: str
    namespace: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, path: str) -> ResourceId | None:
        """Parse `path`; None if it has no `/providers/` part with a type."""
        segments = path.strip("/").split("/")
        marks = [index for index, segment in enumerate(segments) if segment.lower() == "providers"]
        if not marks or len(segments) < marks[-1] + 3:
            return None
        mark = marks[-1]
        scope = "/" + "/".join(segments[:mark]) if mark else "/"
        pairs = segments[mark + 2 :]
        return cls(scope, segments[mark + 1], tuple(pairs[0::2]), tuple(pairs[1::2]))

    @property
    def is_instance(self) -> bool:
        """Tell whether this names a resource; otherwise its last type is a collection or an action."""
        return len(self.types) == len(self.names)

    @property
    def type(self) -> str:
        """Return the type without its namespace: `flexibleServers/databases`."""
        return "/".join(self.types)

    @property
    def full_type(self) -> str:
        """Return the full type: `Microsoft.DBforPostgreSQL/flexibleServers`."""
        return f"{self.namespace}/{self.type}"

    @property
    def name(self) -> str:
        """Return the last name."""
        return self.names[-1]

    @property
    def path(self) -> str:
        """Return the ID in its canonical spelling."""
        parts = [self.namespace]
        for index, kind in enumerate(self.types):
            parts += [kind, *self.names[index : index + 1]]
        return f"{canonical_scope(self.scope)}/providers/{'/'.join(parts)}"

    @property
    def key(self) -> str:
        """Return the lower-case ID, the same for all spellings."""
        return self.path.lower()

    @property
    def parent(self) -> ResourceId | None:
        """Return the resource that this one is a child (or an action or collection) of, or None at the top."""
        if len(self.types) < 2:  # noqa: PLR2004 - a child has at least two types
            return None
        return ResourceId(self.scope, self.namespace, self.types[:-1], self.names[: len(self.types) - 1])

    @property
    def top(self) -> ResourceId:
        """Return the top-level resource: this one, or its outermost parent."""
        return ResourceId(self.scope, self.namespace, self.types[:1], self.names[:1])

    @property
    def subscription(self) -> str:
        """Return the subscription's ID, or an empty string outside of subscriptions."""
        return _after(self.scope, "subscriptions")

    @property
    def group(self) -> str:
        """Return the resource group's name, or an empty string outside of resource groups."""
        return _after(self.scope, "resourcegroups")

    def child(self, kind: str, name: str) -> ResourceId:
        """Return the ID of a child of this instance."""
        return ResourceId(self.scope, self.namespace, (*self.types, kind), (*self.names, name))


def canonical_scope(scope: str) -> str:
    """Return `scope` with `subscriptions` and `resourceGroups` in canonical spelling and without a trailing `/`."""
    spelling = {"subscriptions": "subscriptions", "resourcegroups": "resourceGroups", "providers": "providers"}
    segments = scope.strip("/").split("/")
    return "".join(f"/{spelling.get(segment.lower(), segment)}" for segment in segments if segment)


def canonical_location(location: str) -> str:
    """Return a location's name without spaces and in lower case: `West Europe` is `westeurope`."""
    return location.replace(" ", "").lower()


def display_location(location: str) -> str:
    """Return a region's display name: `westeurope` is `West Europe`."""
    names = {canonical_location(name): name for name in REGIONS}
    return names.get(canonical_location(location), location)


def _after(scope: str, word: str) -> str:
    segments = scope.strip("/").split("/")
    for index, segment in enumerate(segments[:-1]):
        if segment.lower() == word:
            return segments[index + 1]
    return ""
