"""One reading: which part of which source was asked, when, how long it took, and why it failed where it did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """A part of a source, such as `kubernetes.pods`; `at` is ISO 8601, `problem` is empty where it could be read."""

    at: str = ""
    seconds: float = 0.0
    problem: str = ""
