"""Where a container's absolute paths really are: below its root folder, where they are the container's own.

There is no chroot, so what a container is given (environment, arguments, commands) names the real places.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# A path begins where no word, other path or option runs into it, or after a URL's slashes, and ends at a boundary.
_BEFORE = r"(?:(?<![\w.~/-])|(?<=://)|(?<=:///))"
_AFTER = r"(?![\w.~-])"


class Paths:
    """The paths that belong to one container, and how a text that names them is translated."""

    def __init__(self, root: Path, owned: Iterable[str]) -> None:
        self._root = root
        self.owned = sorted({str(PurePosixPath(one)) for one in owned} - {"/"}, key=len, reverse=True)
        choice = "|".join(map(re.escape, self.owned))
        self._pattern = re.compile(f"{_BEFORE}(?P<path>{choice}){_AFTER}") if self.owned else None

    def translate(self, text: str) -> str:
        """Return the text with every path that is the container's own replaced by where it is."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: f"{self._root}{match['path']}", text)

    def real(self, path: str) -> Path:
        """Return where a container's absolute path is below its root."""
        return self._root / path.lstrip("/")
