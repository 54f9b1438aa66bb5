"""A rule: a pure function from facts to causes, with the ID, severity and link that its findings bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflowaks.diagnosis.finding import Finding, Severity
from airflowaks.engine.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflowaks.diagnosis.facts.resource_status import ResourceStatus
    from airflowaks.diagnosis.facts.snapshot import LogLine, Snapshot
    from airflowaks.session import Session

    Remedy = Callable[[Session], Changes]

CRITICAL, WARNING, NOTE = Severity.CRITICAL, Severity.WARNING, Severity.NOTE
DOWNSTREAM = ("AKA-703", "AKA-704", "AKA-705", "AKA-714", "AKA-9", "AKA-003", "AKA-005")
"""The IDs of what follows from nearly everything: Airflow's parts do not find each other, or are not there."""
_MOST_EVIDENCE, _MOST_NAMES = 3, 4
_OF_SUFFERERS = ("event", "container")


@dataclass(frozen=True)
class Cause:
    """What a rule has found: one sentence, what to do, the lines that say so, the components that it is about."""

    sentence: str
    fix: str
    evidence: Sequence[str] = ()
    about: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rule:
    """One rule. `effects` are the beginnings of the IDs of findings that follow from its own."""

    id: str
    severity: Severity
    look: Callable[[Snapshot], Iterable[Cause]]
    effects: tuple[str, ...] = ()
    link: str = ""
    remedy: Remedy | None = None

    def findings(self, facts: Snapshot) -> list[Finding]:
        """Return what the rule finds in `facts`."""
        return [
            Finding(
                id=self.id,
                severity=self.severity,
                cause=one.sentence,
                fix=one.fix,
                link=self.link,
                evidence=_first(one.evidence),
                about=one.about,
                remedy=self.remedy,
            )
            for one in self.look(facts)
        ]


class Section(list[Rule]):
    """The rules of one section, in the order in which they are written."""

    def rule(
        self,
        name: str,
        severity: Severity,
        *,
        effects: tuple[str, ...] = (),
        link: str = "",
        remedy: Remedy | None = None,
    ) -> Callable[[Callable[[Snapshot], Iterable[Cause]]], Callable[[Snapshot], Iterable[Cause]]]:
        """Return a decorator that makes a function from facts to causes the rule `name`."""

        def make(look: Callable[[Snapshot], Iterable[Cause]]) -> Callable[[Snapshot], Iterable[Cause]]:
            self.append(Rule(name, severity, look, effects, link, remedy))
            return look

        return make

    def said(  # noqa: PLR0913 - a rule of words is all data, and each part has a name
        self,
        name: str,
        severity: Severity,
        *words: tuple[str, ...],
        sources: tuple[str, ...],
        cause: str,
        fix: str,
        effects: tuple[str, ...] = (),
        link: str = "",
        remedy: Remedy | None = None,
    ) -> None:
        """Add the rule `name`: its cause stands where one of `sources` has a line with all words of one of `words`."""

        def look(facts: Snapshot) -> Iterable[Cause]:
            if found := log_lines(facts, *words, sources=sources):
                yield Cause(cause, fix, lines(found), components(found))

        self.append(Rule(name, severity, look, effects, link, remedy))


def in_turn(*steps: Remedy) -> Remedy:
    """Return the fix that takes several step functions, one after the other."""

    def remedy(session: Session) -> Changes:
        return sum((step(session) for step in steps), start=Changes(()))

    return remedy


def _first(evidence: Sequence[str]) -> tuple[str, ...]:
    lines = list(dict.fromkeys(evidence))
    left = len(lines) - _MOST_EVIDENCE
    return (*lines[:_MOST_EVIDENCE], f"and {left} more") if left > 0 else tuple(lines)


def listed(names: Sequence[str]) -> str:
    """Return names to begin a sentence with, as many as it can bear."""
    left = len(names) - _MOST_NAMES
    text = ", ".join(names[:_MOST_NAMES]) + (f" and {left} more" if left > 0 else "")
    return text[0].upper() + text[1:]


def log_lines(facts: Snapshot, *words: tuple[str, ...], sources: tuple[str, ...]) -> list[LogLine]:
    """Return the lines of `sources` that have all words of one of `words`."""
    said = ((one, next(filter(one.says, words), None)) for one in facts.log_lines if one.source in sources)
    return [one.around(found) for one, found in said if found]


def lines(found: Sequence[LogLine]) -> list[str]:
    """Return quotes as evidence."""
    return [str(one) for one in found]


def components(found: Sequence[LogLine]) -> frozenset[str]:
    """Return the components that quotes are about; empty where that may be all: a log tells of others' faults too."""
    named = [one.component if one.source in _OF_SUFFERERS else "" for one in found]
    return frozenset(named) if all(named) else frozenset()


def standing(facts: Snapshot, name: str) -> ResourceStatus | None:
    """Return how a resource of Azure stands, by step and attribute (`registry.pull_access`)."""
    return facts.azure.resources.get(name)


def missing(facts: Snapshot, *names: str) -> list[str]:
    """Return as evidence those of the named resources of Azure that do not exist."""
    known = [one for name in names if (one := standing(facts, name)) is not None]
    return [f"{one.title} does not exist" for one in known if one.missing]


def differing(facts: Snapshot, name: str, *words: str) -> list[str]:
    """Return as evidence where a resource of Azure differs in what any of `words` names."""
    known = standing(facts, name)
    return [f"{known.title}: {one}" for one in known.differing(*words)] if known else []
