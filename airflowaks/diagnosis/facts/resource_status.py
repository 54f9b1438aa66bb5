"""The status of a resource of the steps, compared with the environment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceStatus:
    """One resource: whether it exists, and its differences from the environment, each as a line of text.

    `orphaned` means that its parent does not exist either. `held` means that somebody else has set what differs, so
    that only taking it over changes it. `problem` says why it could not be read.
    """

    kind: str
    name: str
    exists: bool = True
    orphaned: bool = False
    state: str = ""
    differences: tuple[str, ...] = ()
    held: bool = False
    problem: str = ""

    @property
    def title(self) -> str:
        """Return its name in a sentence."""
        return f"{self.kind} {self.name}"

    @property
    def missing(self) -> bool:
        """Whether the resource does not exist although its parent does."""
        return not self.exists and not self.orphaned and not self.problem

    def differing(self, *words: str) -> tuple[str, ...]:
        """Return the differences that contain any of `words`."""
        return tuple(line for line in self.differences if any(word in line for word in words))

    def differences_without(self, *words: str) -> tuple[str, ...]:
        """Return the differences that contain none of `words`."""
        return tuple(line for line in self.differences if not any(word in line for word in words))
