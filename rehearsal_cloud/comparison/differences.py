"""The differences between an answer in a trace and this rehearsal's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rehearsal_cloud.comparison.trace import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.comparison.pseudonyms import Pseudonyms
    from rehearsal_cloud.comparison.trace import Exchange

HEADERS = ("Azure-AsyncOperation", "Content-Type", "Location", "Retry-After", "WWW-Authenticate", "x-ms-retry-after-ms")
# These say how long something took, are made up for each answer, or count what the rest of the subscription uses.
# PostgreSQL and the broker answer on localhost here.
_IGNORED = re.compile(
    r"^(@odata\.etag|etag|percentComplete|expires_in|duration|registrationState|currentValue|port|sslPort)$",
    re.IGNORECASE,
)
_WAITS = ("Retry-After", "x-ms-retry-after-ms")
_DURATION = re.compile(r"P(?=[\dT])[\dYMWDTHS.]+")
_EPOCH = 1_000_000_000
_ABSENT = object()


class Answer(NamedTuple):
    """What this rehearsal answered; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: Any


class Difference(NamedTuple):
    """A place of an answer, with what it is in the trace and here."""

    place: str
    azure: str
    rehearsal: str


def differences(exchange: Exchange, answer: Answer, pseudonyms: Pseudonyms) -> Iterator[Difference]:
    """Yield the differences of status, headers of interest and body; seconds to wait, times and etags may differ."""
    if exchange.status != answer.status:
        yield Difference("status", str(exchange.status), str(answer.status))
    traced_headers = {name.lower(): value for name, value in exchange.headers.items()}
    for name in HEADERS:
        traced, here = traced_headers.get(name.lower()), answer.headers.get(name.lower())
        if traced is None or here is None:
            equal = traced is here
        elif name == "Content-Type":
            equal = traced.partition(";")[0].lower() == here.partition(";")[0].lower()
        else:
            equal = name in _WAITS or pseudonyms.equal(traced, here)
        if not equal:
            yield Difference(f"header {name}", traced or "(none)", here or "(none)")
    yield from _bodies("", exchange.response, answer.body, pseudonyms)


def _bodies(place: str, traced: Any, here: Any, pseudonyms: Pseudonyms) -> Iterator[Difference]:
    if traced == MASK or (traced in (None, _ABSENT) and here in (None, _ABSENT)):
        return  # Azure leaves out a property without a value, or sends null
    if isinstance(traced, dict) and isinstance(here, dict):
        yield from _objects(place, traced, here, pseudonyms)
    elif isinstance(traced, list) and isinstance(here, list):
        yield from _lists(place, traced, here, pseudonyms)
    elif not _equal(traced, here, pseudonyms):
        yield Difference(place or "body", _shown(traced), _shown(here))


def _objects(place: str, traced: dict[str, Any], here: dict[str, Any], pseudonyms: Pseudonyms) -> Iterator[Difference]:
    # What a user chose as keys, such as tags, has pseudonyms too.
    spellings = {name: pseudonyms.sent(name) for name in traced}
    for name, spelling in spellings.items():
        if not _IGNORED.match(name):
            yield from _bodies(_join(place, name), traced[name], here.get(spelling, _ABSENT), pseudonyms)
    for name in here.keys() - {*spellings.values()}:
        if not _IGNORED.match(name):
            yield from _bodies(_join(place, name), _ABSENT, here[name], pseudonyms)


def _lists(place: str, traced: list[Any], here: list[Any], pseudonyms: Pseudonyms) -> Iterator[Difference]:
    """Compare items of the same name or ID; a list of the subscription holds things that no request made."""
    names = [_identity(item) for item in traced]
    if not all(names) or not all(_identity(item) for item in here):
        if len(traced) != len(here):
            yield Difference(f"{place}[]", f"{len(traced)} items", f"{len(here)} items")
        for number, (item, counterpart) in enumerate(zip(traced, here, strict=False)):
            yield from _bodies(f"{place}[{number}]", item, counterpart, pseudonyms)
        return
    unmatched = list(here)
    for item, name in sorted(zip(traced, names, strict=True), key=lambda pair: not pseudonyms.resolved(pair[1])):
        resolved = pseudonyms.resolved(name)
        if not resolved and len(traced) != len(here):
            continue  # something of the subscription's own
        counterpart = next((each for each in unmatched if pseudonyms.equal(name, _identity(each))), None)
        if counterpart is not None:
            unmatched.remove(counterpart)
            yield from _bodies(f"{place}[]", item, counterpart, pseudonyms)
        elif resolved:
            yield Difference(f"{place}[]", name, "(none)")


def _identity(item: Any) -> str:
    name = (item.get("id") or item.get("name")) if isinstance(item, dict) else None
    return name if isinstance(name, str) else ""


def _equal(traced: Any, here: Any, pseudonyms: Pseudonyms) -> bool:
    if isinstance(traced, str) and isinstance(here, str):
        if here == "localhost" or (_DURATION.fullmatch(traced) and _DURATION.fullmatch(here)):
            return True
        return pseudonyms.equal(traced, here)
    numbers = (int, float)
    if isinstance(traced, numbers) and isinstance(here, numbers) and min(traced, here) > _EPOCH:
        return True  # seconds since 1970
    return type(traced) is type(here) and bool(traced == here)


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _shown(value: Any) -> str:
    return "(none)" if value is _ABSENT else str(value)
