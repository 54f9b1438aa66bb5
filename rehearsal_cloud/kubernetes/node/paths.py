"""The mapping of a container's absolute paths to places below its root folder.

There is no chroot, so the container's environment, arguments and commands name the real places.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# A path starts at a boundary or after a URL's slashes, not within a word, a path or an option, and ends at a boundary.
_BEFORE = r"(?:(?<![\w.~/-])|(?<=://)|(?<=:///))"
_AFTER = r"(?![\w.~-])"


class Paths:
    """The paths that belong to a container, and the translation of texts that contain them."""

    def __init__(self, root: Path, owned: Iterable[str]) -> None:
        self._root = root
        self.owned = sorted({str(PurePosixPath(path)) for path in owned} - {"/"}, key=len, reverse=True)
        choice = "|".join(map(re.escape, self.owned))
        self._pattern = re.compile(f"{_BEFORE}(?P<path>{choice}){_AFTER}") if self.owned else None

    def translate(self, text: str) -> str:
        """Return the text with every path of the container replaced by its real place."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: f"{self._root}{match['path']}", text)

    def real(self, path: str) -> Path:
        """Return the real place of a container's absolute path."""
        return self._root / path.lstrip("/")
