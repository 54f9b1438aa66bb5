"""A button that is at work: it rests meanwhile, and a line beside it says what is being done, or how that failed."""

from __future__ import annotations

import html
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.error_mapping import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.cloud.redaction import Redactor

RED, AMBER, GREY, LINK = "#b91c1c", "#b45309", "#4b5563", "#1d4ed8"


@contextmanager
def busy(button: Any, line: Any, redactor: Redactor, doing: str) -> Iterator[None]:
    """Have `line`, an HTML widget, say `doing` until the block ends, and then nothing, or what went wrong in it.

    Nothing is raised: there is no cell that an error could end.
    """
    button.disabled = True
    line.value = said(doing)
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what is shown
        line.value = said(str(translate(error, doing, redactor)), RED)
    else:
        line.value = ""
    finally:
        button.disabled = False


def said(text: str, colour: str = GREY) -> str:
    """Return text in a colour as HTML, its lines kept."""
    return f"<span style='color:{colour};white-space:pre-wrap'>{html.escape(text)}</span>"
