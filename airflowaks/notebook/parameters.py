"""The check of a notebook's parameters: each must exist and have the type that the notebook declares.

papermill assigns whatever it is given in a cell of its own, so that a misspelt `-p mdoe plan` would go unseen and the
default, an apply, would run.
"""

from __future__ import annotations

import ast
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from airflowaks.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INJECTED = "# Parameters"
"""The first line of the cell that papermill inserts after the cell tagged `parameters`."""


def check_parameters(
    notebook: str, values: Mapping[str, Any], *, cells: Sequence[str], kinds: Mapping[str, Any]
) -> None:
    """Check the values that `notebook` was started with against its parameters.

    `cells` are the cells that the kernel has run; `kinds` are the annotations of the parameters cell, such as
    `env: str = "local"`. A parameter without an annotation accepts any value.

    Raises:
        InvalidParameter: papermill passed an unknown parameter, or a value has another type.

    """
    for name in _injected(cells):
        if name not in values:
            near = get_close_matches(name, values, n=1)
            raise InvalidParameter(
                f'{notebook} has no parameter "{name}".',
                f'Did you mean "{near[0]}"?' if near else f"It has: {', '.join(values)}.",
            )
    for name, value in values.items():
        if name in kinds:
            _check_kind(name, value, kinds[name])


def _injected(cells: Sequence[str]) -> list[str]:
    passed = [cell for cell in cells if cell.lstrip().startswith(_INJECTED)]
    statements = ast.parse(passed[-1]).body if passed else []
    targets = [target for statement in statements if isinstance(statement, ast.Assign) for target in statement.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _check_kind(name: str, value: Any, kind: Any) -> None:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        expected = getattr(kind, "__name__", str(kind))
        action = f"Set {name} to a value like its default in the notebook's parameters cell."
        if kind is str:
            action = f"Pass text with `papermill -r {name} VALUE`: -p turns what looks like a number into one."
        elif kind is bool:
            action = f"Set {name} to True or False, with a capital letter."
        message = f"The parameter {name} must be {expected}; got {value!r} ({type(value).__name__})."
        raise InvalidParameter(message, action) from None
