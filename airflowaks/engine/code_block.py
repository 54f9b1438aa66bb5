"""A block of code: highlighted in JupyterLab, plain in terminals, logs and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflowaks.engine.table import Displayed

_FENCE = "`" * 8
"""Longer than any that the text may hold."""


@dataclass(frozen=True)
class CodeBlock(Displayed):
    """A text under its title, in a language that Jupyter's frontends highlight, such as `yaml`."""

    text: str
    language: str
    title: str

    def __str__(self) -> str:
        return f"{self.title}\n{self.text}"

    def mimebundle(self) -> dict[str, Any]:
        """Return the text, plain and as Markdown."""
        markdown = f"**{self.title}**\n\n{_FENCE}{self.language}\n{self.text}\n{_FENCE}"
        return {"text/plain": str(self), "text/markdown": markdown}
