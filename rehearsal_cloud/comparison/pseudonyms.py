"""The values of this rehearsal that stand behind a trace's pseudonyms, learned from its answers."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote

from rehearsal_cloud.comparison.trace import MASK

_GUID = "00000000-0000-4000-8000-[0-9]{12}"
_PSEUDONYM = re.compile(
    rf"name\d{{4,}}@example\.com|name\d{{4,}}\.example\.com|name\d{{4,}}|{_GUID}|(?<!\w)\d{{24,}}(?!\w)"
    rf"|(?<![\d.])10\.(?!0\.|22[4-9]\.|2[3-5]\d\.)\d{{1,3}}(?=\.\d+\.\d)|198\.18\.\d{{1,3}}\.\d{{1,3}}|2001:db8::[0-9a-f]+|{re.escape(MASK)}"
)
_ANY_GUID = r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::[\d.]+)?(?:Z|[+-]\d\d:\d\d)?")
_STAND_IN = "Rehearsed-secret-0"


class Pseudonyms:
    """Values by pseudonym. A pseudonym that was sent stands for itself: the rehearsal then knows it as a name."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = dict(values)

    def resolved(self, text: str) -> bool:
        """Return whether the values of all pseudonyms in `text` are known here."""
        return pseudonyms_in(text) <= self._values.keys()

    def sent(self, text: str) -> str:
        """Return `text` as it is sent to the rehearsal: with the values, and a stand-in for each masked secret."""
        return _PSEUDONYM.sub(
            lambda match: _STAND_IN if match[0] == MASK else self._values.setdefault(match[0], match[0]), text
        )

    def equal(self, traced: str, answered: str) -> bool:
        """Return whether both texts are equal, times aside; learn the values of pseudonyms that have none yet."""
        traced, answered = _TIME.sub("TIME", traced), _TIME.sub("TIME", _plain(answered))
        pattern, end = "", 0
        unknown: list[str] = []
        for match in _PSEUDONYM.finditer(traced):
            pattern += re.escape(traced[end : match.start()])
            end = match.end()
            if match[0] == MASK:
                pattern += r"[\s\S]*"
            elif match[0] in self._values:
                pattern += re.escape(self._values[match[0]])
            elif match[0] in unknown:
                pattern += rf"\{unknown.index(match[0]) + 1}"
            else:
                unknown.append(match[0])
                pattern += _ANY_GUID if re.fullmatch(_GUID, match[0]) else r"([\s\S]+?)"
        values = re.fullmatch(pattern + re.escape(traced[end:]), answered)
        if values is None:
            return False
        self._values |= dict(zip(unknown, values.groups(), strict=True))
        return True


def pseudonyms_in(text: str) -> set[str]:
    """Return the pseudonyms in `text`."""
    return {match for match in _PSEUDONYM.findall(text) if match != MASK}


def _plain(text: str) -> str:
    """Return a URL with its query encoded as in a trace; any other text unchanged."""
    place, mark, query = text.partition("?")
    if not mark or not place.startswith("https://"):
        return text
    return f"{place}?{'&'.join(f'{name}={quote(value)}' for name, value in parse_qsl(query))}"


def anonymous(text: str) -> str:
    """Return `text` with an asterisk for each pseudonym."""
    return _PSEUDONYM.sub("*", text)
