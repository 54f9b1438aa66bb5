"""The state of a button: disabled while its work runs, with a line beside it that says what runs or how it failed."""

from __future__ import annotations

import html
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.session import Session

RED, AMBER, GREY, LINK = "#b91c1c", "#b45309", "#4b5563", "#1d4ed8"


@contextmanager
def busy(button: Any, line: Any, session: Session, activity: str) -> Iterator[None]:
    """Show `activity` in `line`, an HTML widget, until the block ends; then nothing, or the error that it raised.

    Nothing is raised: there is no cell that an error could end.
    """
    button.disabled = True
    line.value = coloured(activity)
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what is shown
        line.value = coloured(str(session.translate(error, activity)), RED)
    else:
        line.value = ""
    finally:
        button.disabled = False


def coloured(text: str, colour: str = GREY) -> str:
    """Return text in a colour as HTML, its lines kept."""
    return f"<span style='color:{colour};white-space:pre-wrap'>{html.escape(text)}</span>"
