"""One reading: the part of a source, its time and duration, and why it failed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """The reading of a part of a source, such as `kubernetes.pods`; `at` is ISO 8601, `problem` is empty on success."""

    at: str = ""
    seconds: float = 0.0
    problem: str = ""
