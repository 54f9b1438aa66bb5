"""Rules: pure functions from facts to causes, with the ID, severity and link of their findings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import yaml

from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.finding import Finding, Severity
from airflowaks.engine.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflowaks.diagnosis.facts.resource_status import ResourceStatus
    from airflowaks.diagnosis.facts.snapshot import LogLine, Snapshot
    from airflowaks.session import Session

    Remedy = Callable[[Session], Changes]
    Evaluate = Callable[[Snapshot], Iterable["Cause"]]

WARNING, NOTE = Severity.WARNING, Severity.NOTE
DOWNSTREAM = ("AKA-703", "AKA-704", "AKA-705", "AKA-714", "AKA-720", "AKA-823", "AKA-9", "AKA-003", "AKA-005")
"""The IDs of the effects of nearly every cause: components of Airflow are missing or cannot reach each other."""
NO_NEW_PODS = ("AKA-009",)
"""The IDs of the effects of what keeps pods from starting: the backend is read through one."""
_TEXTS: dict[str, Any] = yaml.load(Path(__file__).with_name("texts.yaml").read_bytes(), yaml.CSafeLoader)
_MOST_EVIDENCE, _MOST_NAMES = 3, 4
_ABOUT_THE_POD = ("event", "container")


@dataclass(frozen=True)
class Cause:
    """A cause: one sentence, the fix, the evidence (each item is shown as text) and the affected components.

    A cause without evidence is dropped, so a rule may always yield its cause. No `components` means all of them.
    `severity` and `remedy` are its own, where they differ from the rule's.
    """

    sentence: str
    fix: str
    evidence: Sequence[object]
    components: frozenset[str] = frozenset()
    remedy: Remedy | None = None
    severity: Severity | None = None


@dataclass(frozen=True)
class Rule:
    """One rule. `effects` are prefixes of the IDs of findings that follow from its own.

    `may_explain`: its findings are changes of what others are about, which show them as their likely reason.
    `automatic`: its causes bring their own remedies. `lasting`: a task can succeed all the same, so that proves no end.
    """

    id: str
    severity: Severity
    evaluate: Evaluate
    effects: tuple[str, ...] = ()
    link: str = ""
    remedy: Remedy | None = None
    may_explain: bool = False
    automatic: bool = False
    lasting: bool = False

    def findings(self, facts: Snapshot) -> list[Finding]:
        """Return the findings of the rule in `facts`."""
        return [self._finding(cause) for cause in self.evaluate(facts) if cause.evidence]

    def _finding(self, cause: Cause) -> Finding:
        current = [item for item in cause.evidence if self.lasting or not _is_over(item)]
        finding = Finding(
            id=self.id,
            severity=cause.severity or self.severity,
            cause=cause.sentence,
            fix=cause.fix,
            link=self.link,
            evidence=_first(current or cause.evidence),
            components=cause.components,
            remedy=cause.remedy or self.remedy,
            may_explain=self.may_explain,
        )
        return finding if current else finding.ended(max(getattr(item, "at", "") for item in cause.evidence))


class Options(TypedDict, total=False):
    """The optional parts of a rule."""

    effects: tuple[str, ...]
    link: str
    remedy: Remedy
    may_explain: bool
    automatic: bool
    lasting: bool


class Section(list[Rule]):
    """The rules of one module, in order, with the defaults for their sources, effects and link."""

    def __init__(self, *sources: str, effects: tuple[str, ...] = (), link: str = "") -> None:
        super().__init__()
        self.sources = sources
        self._defaults: Options = {"effects": effects, "link": link}

    def rule(
        self, name: str, severity: Severity = Severity.CRITICAL, **options: Unpack[Options]
    ) -> Callable[[Evaluate], Evaluate]:
        """Return a decorator that adds a function from facts to causes as the rule `name`."""

        def add(evaluate: Evaluate) -> Evaluate:
            self.append(Rule(name, severity, evaluate, **(self._defaults | options)))
            return evaluate

        return add

    def text_rules(self, *names: str, **options: Unpack[Options]) -> None:
        """Add rules of texts.yaml, which find their cause in lines, or in parts that could not be read."""
        for name in names:
            text = _TEXTS[name]
            own: Options = {**options}
            if "effects" in text:
                effects = [DOWNSTREAM if effect == "downstream" else (effect,) for effect in text["effects"]]
                own["effects"] = tuple(chain(*effects))
            if "link" in text:
                own["link"] = text["link"]
            own["lasting"] = text.get("lasting", False)
            self.rule(name, Severity(text.get("severity", "critical")), **own)(partial(self._evaluate_text, text))

    def _evaluate_text(self, text: Mapping[str, Any], facts: Snapshot) -> Iterable[Cause]:
        if parts := text.get("unread", "").split():
            problems = [(part, facts.unread(part)) for part in parts]
            yield Cause(text["cause"], text["fix"], [f"{part}: {problem}" for part, problem in problems if problem])
        else:
            lines = self.lines(facts, *map(tuple, text["words"]), sources=tuple(text.get("sources", ())))
            yield Cause(text["cause"], text["fix"], lines, components_of(lines))

    def lines(self, facts: Snapshot, *words: tuple[str, ...], sources: tuple[str, ...] = ()) -> list[LogLine]:
        """Return excerpts of the lines of `sources` (default: the section's) that have all words of a tuple."""
        candidates = [line for line in facts.log_lines if line.source in (sources or self.sources)]
        matches = ((line, next(filter(line.contains, words), None)) for line in candidates)
        return [line.excerpt(match) for line, match in matches if match]


def _is_over(item: object) -> bool:
    return getattr(item, "over", False)


def in_turn(*steps: Remedy) -> Remedy:
    """Return the fix that runs several step functions in order."""

    def remedy(session: Session) -> Changes:
        return sum((step(session) for step in steps), start=Changes())

    return remedy


def restart(facts: Snapshot, *components: str) -> Remedy:
    """Return the fix that restarts components; it leaves those alone whose pods are no longer those of `facts`."""
    pods = facts.kubernetes.pods.items()
    names = {each: [name for name, pod in pods if pod.component == each] for each in components}
    return in_turn(*(partial(kubectl.restart, component=each, pods=names[each]) for each in components))


def _first(evidence: Sequence[object]) -> tuple[str, ...]:
    lines = list(dict.fromkeys(map(str, evidence)))
    left = len(lines) - _MOST_EVIDENCE
    return (*lines[:_MOST_EVIDENCE], f"and {left} more") if left > 0 else tuple(lines)


def listed(names: Sequence[str]) -> str:
    """Return the first names, and the number of the rest."""
    left = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {left} more" if left > 0 else "")


def sentence(text: str) -> str:
    """Return the text with a capital at its beginning."""
    return text[0].upper() + text[1:]


def components_of(lines: Sequence[LogLine]) -> frozenset[str]:
    """Return the components that the lines are about; empty, for all, if a line may be about another component."""
    names = [line.component if line.source in _ABOUT_THE_POD else "" for line in lines]
    return frozenset(names) if all(names) else frozenset()


def status_of(facts: Snapshot, name: str) -> ResourceStatus | None:
    """Return the status of an Azure resource by step and attribute, such as `registry.pull_access`."""
    return facts.azure.resources.get(name)


def missing(facts: Snapshot, *names: str) -> list[str]:
    """Return evidence for those of the named Azure resources that do not exist."""
    statuses = [status for name in names if (status := status_of(facts, name)) is not None]
    return [f"{status.title} does not exist" for status in statuses if status.missing]


def differing(facts: Snapshot, name: str, *words: str) -> list[str]:
    """Return evidence for the differences of an Azure resource that contain any of `words`."""
    status = status_of(facts, name)
    return [f"{status.title}: {difference}" for difference in status.differing(*words)] if status else []
