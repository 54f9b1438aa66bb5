"""Pseudonyms: what identifies an environment in requests and answers, replaced one for one, in the same shape.

Equal values get equal pseudonyms. A GUID stays a GUID, a host keeps Azure's suffix, a name stays a valid name.
pseudonyms.toml says what is replaced.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote

from airflowaks.cloud.redaction import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_RULES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_PATTERNS: dict[str, str] = _RULES.pop("patterns")
_RULE = {
    f"{section} {name}": re.compile(pattern, re.IGNORECASE)
    for section, patterns in _RULES.items()
    for name, pattern in patterns.items()
}
_ROLE = re.compile(r"/roleDefinitions/([0-9a-f-]{36})", re.IGNORECASE)

_PUBLIC_IDS = ("00000000-0000-0000-0000-000000000000", "00000003-0000-0000-c000-000000000000")
"""The default role of an application, and Microsoft Graph, which are the same in every tenant."""


class Pseudonyms:
    """One mapping of values to pseudonyms. `names` are replaced wherever they occur, `location` nowhere."""

    def __init__(self, names: Iterable[str], location: str) -> None:
        self._location = location
        self._made: dict[str, str] = {}
        self._count: Counter[str] = Counter()
        self._roles = set(_PUBLIC_IDS)
        self._names = {name.lower() for name in names if not _RULE["public names"].fullmatch(name)}
        self._pattern = self._compiled()

    def url(self, url: str) -> str:
        """Return `url` with pseudonyms; query parameters that may be signatures are masked."""
        place, _, query = url.partition("?")
        values = [
            f"{key}={quote(self.message(value)) if _RULE['public query'].fullmatch(key) else MASK}"
            for key, value in parse_qsl(query)
        ]
        return "?".join([self.text(unquote(place)), *(["&".join(values)] if values else [])])

    def document(self, value: Any) -> Any:
        """Return JSON with pseudonyms; values of secret properties are masked, personal ones replaced as a whole."""
        self._learn_from(json.dumps(value))
        return self._value(value, "")

    def message(self, text: str) -> str:
        """Return `text` with pseudonyms, also for all that it quotes."""
        return self.text(_RULE["learned quoted"].sub(lambda match: self._name(match[0]), text))

    def text(self, text: str) -> str:
        """Return `text` with pseudonyms."""
        self._learn_from(text)
        return self._pattern.sub(lambda match: getattr(self, f"_{match.lastgroup}")(match[0]), text)

    def keep_roles(self, text: str) -> None:
        """Keep the IDs of role definitions in a request's `text`: the runbook assigns built-in roles alone."""
        self._roles |= {guid.lower() for guid in _ROLE.findall(text)}

    def _value(self, value: Any, key: str, *, personal: bool = False) -> Any:
        personal = personal or bool(_RULE["keys personal"].search(key))
        if isinstance(value, dict):
            chosen = key in ("tags", "claims")  # by users
            return {
                self._name(name) if chosen else self.text(name): self._value(item, name, personal=personal)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item, key, personal=personal) for item in value]
        if not isinstance(value, str) or value.lower() in ("", "true", "false"):
            return value
        if _RULE["keys secret"].search(key):
            return MASK
        if personal and not re.fullmatch(f"{_PATTERNS['guid']}|{_PATTERNS['email']}", value, re.IGNORECASE):
            return self._name(value)
        if value.startswith("https://") and "?" in value:
            return self.url(value)
        return (self.message if _RULE["keys message"].search(key) else self.text)(value)

    def _learn_from(self, text: str) -> None:
        names = set(_RULE["learned parents"].findall(text))
        for path in _RULE["learned below_provider"].findall(text):
            kinds, children = path.split("/")[1::2], path.split("/")[2::2]
            pairs = zip(kinds, children, strict=False)
            names |= {name for kind, name in pairs if not _RULE["public types"].fullmatch(kind)}
        self._learn(name for name in names if not re.fullmatch(_PATTERNS["guid"], name, re.IGNORECASE))

    def _learn(self, names: Iterable[str]) -> None:
        learned = self._names | {name.lower() for name in names if not _RULE["public names"].fullmatch(name)}
        if learned != self._names:
            self._names = learned
            self._pattern = self._compiled()

    def _compiled(self) -> re.Pattern[str]:
        # A name that is a mere word is replaced where an ID or a whole value has it; in prose it may be anything.
        longest = sorted(self._names, key=len, reverse=True)
        parts = "|".join(re.escape(name) for name in longest if not name.isalpha()) or "(?!)"
        words = "|".join(name for name in longest if name.isalpha()) or "(?!)"
        name = rf"(?<![a-z0-9])(?:{parts})(?![a-z0-9])|(?:(?<=/)|(?<![\s\S]))(?-i:{words})(?![\w-])"
        patterns = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in (_PATTERNS | {"name": name}).items())
        return re.compile(patterns, re.IGNORECASE)

    # Replacements, by kind

    def _once(self, kind: str, value: str, shape: Callable[[int], object]) -> str:
        if value.lower() not in self._made:
            self._count[kind] += 1
            self._made[value.lower()] = str(shape(self._count[kind]))
        return self._made[value.lower()]

    def _name(self, name: str) -> str:
        public = name.lower() == self._location or _RULE["public names"].fullmatch(name)
        return name if public else self._once("name", name, "name{:04}".format)

    def _email(self, address: str) -> str:
        return f"{self._name(address)}@example.com"

    def _guid(self, guid: str) -> str:
        return (
            guid if guid.lower() in self._roles else self._once("guid", guid, "00000000-0000-4000-8000-{:012}".format)
        )

    def _host(self, host: str) -> str:
        return ".".join(
            label if _RULE["public labels"].fullmatch(label) or label == self._location else self._name(label)
            for label in host.split(".")
        )

    def _hex(self, digits: str) -> str:
        return self._once("hex", digits, f"{{:0{len(digits)}}}".format)

    def _address(self, text: str) -> str:
        try:
            ip_address(text)
        except ValueError:  # a time or a version
            return text
        if _RULE["public addresses"].fullmatch(text):
            return text
        if _RULE["public private"].fullmatch(text):  # the end stays, so that a range still holds its addresses
            first, second, end = text.split(".", 2)
            return f"{self._once('network', f'{first}.{second}', '10.{}'.format)}.{end}"
        return self._once("address", text, ip_address("2001:db8::" if ":" in text else "198.18.0.0").__add__)

    def _token(self, _: str) -> str:
        return MASK
