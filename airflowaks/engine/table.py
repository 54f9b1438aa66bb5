"""What JupyterLab shows and records keep, each also as text: tables as HTML, code as Markdown, pictures as SVG."""

from __future__ import annotations

import html
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 120
_CELL = "<td style='text-align:left;white-space:{}'>{}</td>"
_FENCE = "`" * 8
"""Longer than any that the text may hold."""


class Displayed(ABC):
    """Shows itself in Jupyter."""

    @abstractmethod
    def mimebundle(self) -> dict[str, Any]:
        """Return what Jupyter shows and keeps, by MIME type."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        del include, exclude
        return self.mimebundle()


@dataclass(frozen=True)
class Table(Displayed):
    """Rows under columns, a title above and a note below; `data` is the same for machines, by MIME type."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the table as plain text, at most 120 columns wide where its cells allow."""
        if not self.rows:
            return "\n".join(line for line in (self.title, self.note) if line)
        # Imported here, because it costs as much as half of the runbook and programs need not print.
        from rich import box
        from rich.console import Console
        from rich.table import Column
        from rich.table import Table as RichTable
        from rich.text import Text

        # Folded, because half of a correlation ID is of no use; what names the row stays in one piece.
        columns = [Column(column, overflow="fold", no_wrap=not index) for index, column in enumerate(self.columns)]
        table = RichTable(*columns, box=box.SIMPLE_HEAD, show_header=any(self.columns), pad_edge=False)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        stream = io.StringIO()
        # In a notebook rich would display the table automatically.
        Console(file=stream, width=_WIDTH, color_system=None, force_jupyter=False, legacy_windows=False).print(table)
        lines = [line.rstrip() for line in stream.getvalue().strip("\n").splitlines()]
        return "\n".join(line for line in (self.title, *lines, self.note) if line)

    def html(self) -> str:
        """Return the table as an HTML fragment, every cell escaped."""
        head = "".join(f"<th style='text-align:left'>{html.escape(column)}</th>" for column in self.columns)
        head = f"<thead><tr>{head}</tr></thead>" if any(self.columns) else ""
        # As in text, what names the row stays in one piece.
        wraps = ["pre", *(["pre-wrap"] * (len(self.columns) - 1))]
        body = "".join(
            f"<tr>{''.join(_CELL.format(wrap, html.escape(cell)) for wrap, cell in zip(wraps, row, strict=False))}</tr>"
            for row in self.rows
        )
        title = f"<p><b>{html.escape(self.title)}</b></p>" if self.title else ""
        table = title + (f"<table>{head}<tbody>{body}</tbody></table>" if self.rows else "")
        return table + (f"<p>{html.escape(self.note)}</p>" if self.note else "")

    def mimebundle(self) -> dict[str, Any]:
        """Return the table as text, as HTML and for machines."""
        return {"text/plain": str(self), "text/html": self.html(), **self.data}


class Tabular(Displayed):
    """Shows itself as a table."""

    @abstractmethod
    def table(self, title: str = "") -> Table:
        """Return the table."""

    def mimebundle(self) -> dict[str, Any]:
        """Return what the table shows."""
        return self.table().mimebundle()

    def _repr_pretty_(self, printer: Any, cycle: object) -> None:
        """Show the text: IPython prefers its printer of tuples to the text of a MIME bundle.

        `DisplayFormatter.format` in IPython/core/formatters.py: "exception: manually registered per-mime renderer".
        """
        del cycle
        printer.text(str(self))

    def __str__(self) -> str:
        return str(self.table())


class Picture(Displayed):
    """Shows itself as SVG, and as text where that cannot be shown."""

    @abstractmethod
    def svg(self) -> str:
        """Return the picture as SVG."""

    def mimebundle(self) -> dict[str, Any]:
        """Return the picture and its text."""
        return {"text/plain": str(self), "image/svg+xml": self.svg()}


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
