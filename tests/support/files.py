"""Resources for small notebooks: text files, which need no cloud."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from airflowaks.engine.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from airflowaks.session import Session


class TextFile(Resource):
    """A file in the working directory that holds `text`."""

    kind: ClassVar[str] = "file"

    def __init__(self, session: Session, name: str, text: str, *depends_on: Resource) -> None:
        super().__init__(session, name, depends_on=depends_on)
        self.text = text

    @property
    def id(self) -> str:
        return f"file:{self.name}"

    def read(self) -> Mapping[str, Any] | None:
        return {"text": Path(self.name).read_text()} if Path(self.name).exists() else None

    def desired(self) -> Mapping[str, Any]:
        return {"text": self.text}

    def write(self, facts: Mapping[str, Any] | None) -> None:
        del facts
        Path(self.name).write_text(self.text)


class SlowFile(TextFile):
    """A file that takes two and a half seconds to write."""

    def write(self, facts: Mapping[str, Any] | None) -> None:
        time.sleep(2.5)
        super().write(facts)
