"""How one resource of the steps stands, beside what the environment wants."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceStatus:
    """One resource: whether it exists and where it is not as wanted, each difference as a line of text.

    `orphaned` means that what it would be in does not exist either. `problem` says why it could not be read.
    """

    kind: str
    name: str
    exists: bool = True
    orphaned: bool = False
    state: str = ""
    differences: tuple[str, ...] = ()
    problem: str = ""

    @property
    def title(self) -> str:
        """Return what it is called in a sentence."""
        return f"{self.kind} {self.name}"

    @property
    def missing(self) -> bool:
        """Tell whether it is known not to exist, though what it belongs to does."""
        return not self.exists and not self.orphaned and not self.problem

    def differing(self, *words: str) -> tuple[str, ...]:
        """Return the differences that name any of `words`."""
        return tuple(one for one in self.differences if any(word in one for word in words))
