"""Changes to an environment file, one key each: every field of the schema, with values of a wrong type, form or size.

The values follow from a field's annotation, so that a field that the schema gets later is changed too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator

from airflowaks.config.environment import Environment
from airflowaks.config.naming import NameRule
from airflowaks.config.schema import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEPT = {
    "subscription_id": "33333333-3333-4333-8333-333333333333",
    "tenant_id": "44444444-4444-4444-8444-444444444444",
    "location": "westeurope",
}
# What has to stand beside a section's key, so that the file is valid without the change.
BESIDE = {
    "ExistingCache": {"kind": "existing_cache", "resource_group": "shared", "name": "cache"},
    "SourceCredentials": {name: f"https://shared.vault.azure.net/secrets/{name}" for name in ("username", "token")},
    "FirewallRule": {"start": "203.0.113.7"},
}

ANY = ("true", "1.30", "2026-11-29", "[a]", "{a: b}")
NUMBERS = ("-1", "0", "'5'", "five", "0200", "1:30", "1_000", "5.0", "\u0665", "''", "9" * 30)
TRUTHS = ("'true'", "1", "0", "maybe", "None", "''")
LISTS = ("a", "''", "[1, 1]", "[null]", "[[a]]", "['']")
TEXTS = (
    *("''", "' '", "'a '", "17", "a b", "A", "-a", "a-", "a--b", "1a", "a_b", ".a", "a/b", "'a\"b'"),
    *("\u00e9", "\uff41", "\u0661\u0662"),
)
WHOLE = "the whole file"
END = "below the required keys"


@dataclass(frozen=True)
class Change:
    """A key's value, as YAML, in a file with the required keys and those beside it, or text instead of a key."""

    key: str
    value: str
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)

    def text(self) -> str:
        """Return the file."""
        if self.key == WHOLE:
            return self.value
        values = KEPT | self.beside | ({self.key: self.value} if self.key != END else {})
        text = _block({tuple(key.split(".")): value for key, value in values.items()}, "")
        return text + self.value if self.key == END else text


def _block(values: Mapping[tuple[str, ...], str], indent: str) -> str:
    lines = []
    for head in dict.fromkeys(path[0] for path in values):
        below = {path[1:]: value for path, value in values.items() if path[0] == head}
        value = f" {below[()]}\n" if () in below else f"\n{_block(below, indent + '  ')}"
        lines.append(f"{indent}{head}:{value}")
    return "".join(lines)


def every() -> Iterator[Change]:
    """Return a change for each field of the schema and each value that is odd for it."""
    Environment.model_rebuild()  # the models are built when they are first used
    yield from _section(Environment, "", set())


def _section(section: type[Section], prefix: str, seen: set[type[Section]]) -> Iterator[Change]:
    beside = {prefix + key: value for key, value in BESIDE.get(section.__name__, {}).items()}
    for name, info in section.model_fields.items():
        if (section, name) == (Environment, "name"):
            continue
        key = prefix + name
        values = ANY[-1:] if section in seen else dict.fromkeys(_values(info.annotation, info.metadata))
        for value in values:
            yield Change(key, value, {each: beside[each] for each in beside if each != key})
        for below in _sections(info.annotation):
            inner = f"{key}.office." if get_origin(info.annotation) is dict else f"{key}."
            yield from _section(below, inner, seen)
        yield Change(key + "x", "a", beside)  # a misspelled key
    yield Change(f"{prefix}name", "a", beside)
    seen.add(section)


def _sections(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _values(annotation: Any, metadata: list[Any]) -> Iterator[str]:
    """Return values that are odd for an annotation."""
    if get_origin(annotation) in {Union, UnionType} and type(None) in get_args(annotation):
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
    yield from ANY
    if annotation in {int, bool}:
        yield from NUMBERS if annotation is int else TRUTHS
    elif get_origin(annotation) is Literal:
        yield from (odd for each in get_args(annotation) for odd in (f"{each}x", str(each).swapcase(), str(each)))
        yield from ("''", "none", "1")
    elif get_origin(annotation) in {tuple, dict}:
        yield from LISTS
    else:
        yield from ("a", "''") if _sections(annotation) else TEXTS
    for rule in metadata:
        yield from _of_rule(rule)


def _of_rule(rule: Any) -> Iterator[str]:
    """Return the values at a rule's limits, outside."""
    match rule:
        case Ge(limit):
            yield str(limit - 1)
        case Le(limit):
            yield str(limit + 1)
        case MaxLen(longest):
            yield "a" * (longest + 1)
    name = getattr(rule.func, "__self__", None) if isinstance(rule, AfterValidator) else None
    if isinstance(name, NameRule):
        shortest, longest = name.length
        yield from ("a" * (shortest - 1) or "''", "a" * (longest + 1))
        yield from name.reserved
        yield from (word.upper() for word in name.reserved)
        if name.public:
            yield from ("microsoft1", "my-windows", "login-a1", "xbox-a1")
