"""Azure's name rules by resource type (names.toml), and the default names derived from an environment."""

import re
import tomllib
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

# Words that Azure rejects in a public host name: the first two anywhere, the others at the beginning.
# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-reserved-resource-name
TRADEMARK = re.compile(r"microsoft|windows|^login|^xbox", re.IGNORECASE)

# Letters that no font shows, which Unicode counts as letters of Hangul:
# https://www.unicode.org/reports/tr31/#Default_Ignorable_Code_Points
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0"
SUFFIX_LENGTH = 6
MARK = "airflowaks"
"""The tag that the runbook puts on what it creates; its value is the environment's mark."""


@dataclass(frozen=True, slots=True)
class NameRule:
    """The name rule of one resource type; names.toml explains the fields."""

    kind: str
    pattern: str
    length: Sequence[int]
    form: str
    example: str
    public: bool = False
    reserved: Sequence[str] = ()

    def check(self, name: str) -> str:
        """Return `name` unchanged.

        Raises:
            ValueError: the name breaks the rule; the message has the name, the rule and a valid example.

        """
        shortest, longest = self.length
        if not shortest <= len(name) <= longest:
            noun = "character" if len(name) == 1 else "characters"
            problem = f"it has {len(name)} {noun}; {shortest} to {longest} are allowed"
        elif not re.fullmatch(self.pattern, name, re.ASCII):
            problem = f"use {self.form}"
        # Hyphens are ignored because the derived registry name drops them.
        elif self.public and (word := TRADEMARK.search(name.replace("-", ""))):
            problem = f'Azure reserves the word "{word.group().lower()}"; leave it out'
        elif name.lower() in self.reserved:
            problem = "this name is reserved; choose another"
        else:
            return name
        raise ValueError(f'"{name}" is not a valid name for {self.kind}: {problem}; for example, "{self.example}"')


_DATA: dict[str, Any] = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
RULES = {name: NameRule(**rule) for name, rule in _DATA["rules"].items()}
_OFFSETS = {region: offset for offset, regions in _DATA["regions"].items() for region in regions}


def invisible_character(text: str) -> str | None:
    """Return the first character of a text that nobody sees, such as `U+200B`, or None."""
    invisible = (each for each in text if not each.isprintable() or each in _BLANK_LETTERS)
    return next((f"U+{ord(character):04X}" for character in invisible), None)


def region_name(location: str) -> str:
    """Return Resource Manager's name of a region, from that name or the display name ("East US" → "eastus").

    Raises:
        ValueError: the public cloud has no such region.

    """
    name = re.sub(r"\(.*?\)|[-_ ]", "", location.lower())
    if name in _OFFSETS:
        return name
    nearest = get_close_matches(name, _OFFSETS, n=1)
    fix = f'did you mean "{nearest[0]}"?' if nearest else "az account list-locations --query [].name lists the regions"
    raise ValueError(f'"{location}" is not a region of the Azure public cloud; {fix}')


def utc_offset(region: str) -> str:
    """Return the offset of a region's standard time from UTC, such as `+01:00`; it knows no summer time."""
    return str(_OFFSETS[region])


def name_suffix(environment: str, subscription_id: str, resource_group: str) -> str:
    """Return the suffix that makes a global name unique: six characters, the same on every run.

    The hash includes the environment's name, so that two environments in one resource group differ even if their names
    are cut to the same prefix. Case is ignored, as in Azure's IDs.
    """
    digest = sha256(f"{subscription_id}/{resource_group}/{environment}".lower().encode()).digest()
    return b32encode(digest).decode().lower()[:SUFFIX_LENGTH]


def global_name(rule: str, abbreviation: str, environment: str, suffix: str) -> str:
    """Return `airflow-<environment>-<abbreviation>-<suffix>`, with the environment cut to the length `rule` allows."""
    if rule == "registry":
        head, tail = f"airflow{environment.replace('-', '')}", f"{abbreviation}{suffix}"
    else:
        head, tail = f"airflow-{environment}", f"-{abbreviation}-{suffix}"
    return head[: RULES[rule].length[1] - len(tail)].rstrip("-") + tail
