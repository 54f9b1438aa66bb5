"""The check of a notebook's parameters: each must exist, have the type that the notebook declares, and a valid value.

papermill assigns whatever it is given in a cell of its own, so that a misspelt `-p mdoe plan` would go unseen and the
default, an apply, would run. A value is checked before the run has done anything, not by the cell that uses it.
"""

from __future__ import annotations

import ast
import re
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from airflowaks.config.naming import invisible_character
from airflowaks.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_INJECTED = "# Parameters"
"""The first line of the cell that papermill inserts after the cell tagged `parameters`."""
_MOST_TASKS = 1000
"""The `max_active_tasks` of the load DAG; Airflow expands a task into 1024 at the most (`core.max_map_length`)."""

_KINDS = {str: "text", bool: "True or False", int: "a whole number"}


def check_parameters(
    notebook: str, values: Mapping[str, Any], *, cells: Sequence[str], kinds: Mapping[str, Any]
) -> None:
    """Check the values that `notebook` was started with against its parameters.

    `cells` are the cells that the kernel has run; `kinds` are the annotations of the parameters cell, such as
    `env: str = "local"`. A parameter without an annotation accepts any value. `open_session` checks what needs the
    environment: `env`, `mode`, `operator_address` and, of `component`, workers of a queue.

    Raises:
        InvalidParameter: papermill passed an unknown parameter, or a value has another type or breaks its rule.
        NotConfirmed: the run applies, and `confirm` is not the environment's name, or `upgrade` names no upgrade.

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
            if value:  # an empty one is not set
                _check_text(name, value)
                _check_value(name, value)
    if "confirm" in values and values.get("mode") == "apply":
        from airflowaks.steps.teardown import check_confirmed

        check_confirmed(values["env"], values["confirm"])
    if "upgrade" in values and values.get("mode") == "apply":
        from airflowaks.steps.upgrades import check_chosen

        check_chosen(values["upgrade"])


def _injected(cells: Sequence[str]) -> list[str]:
    passed = [cell for cell in cells if cell.lstrip().startswith(_INJECTED)]
    statements = ast.parse(passed[-1]).body if passed else []
    targets = [target for statement in statements if isinstance(statement, ast.Assign) for target in statement.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _check_kind(name: str, value: Any, kind: Any) -> None:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        expected = _KINDS.get(kind, getattr(kind, "__name__", str(kind)))
        action = f"Set {name} to a value like its default in the notebook's parameters cell."
        if kind is str:
            action = f"Pass text with `papermill -r {name} VALUE`: -p turns what looks like a number into one."
        elif kind is bool:
            action = f"Set {name} to True or False, with a capital letter."
        message = f"The parameter {name} must be {expected}; got {value!r}."
        raise InvalidParameter(message, action) from None


def _check_text(name: str, value: Any) -> None:
    if isinstance(value, str) and (character := invisible_character(value)):
        raise InvalidParameter(f"{name}: the text contains the invisible character {character}.", "Remove it.")
    if isinstance(value, str) and value != value.strip():
        raise InvalidParameter(f'{name}: "{value}" begins or ends with a space.', "Remove it.")


def _check_value(name: str, value: Any) -> None:
    # Imports are here, because most runs set few of these.
    match name:
        case "image":
            from airflowaks.steps.registry import check_image

            check_image(value)
        case "rotate":
            from airflowaks.steps.key_vault import check_secret

            check_secret(value)
        case "dags":
            from airflowaks.steps.volumes import dags_folder

            dags_folder(value)
        case "since":
            from airflowaks.diagnosis.readers.scope import period

            period(value)
        case "task":
            from airflowaks.diagnosis.waiting.explain import target

            target(value)
        case "component" | "upgrade":
            from airflowaks.steps import image_rollout, upgrades

            choices = {"component": image_rollout.COMPONENTS, "upgrade": upgrades.NAMES}
            # `open_session` checks which queues of the environment have workers of their own.
            _check_choice(name, "worker" if value.startswith("worker-") else value, choices[name])
        case "fix":
            from airflowaks.diagnosis.rules.registry import RULES

            _check_choice(name, value, RULES, "the number of a finding, such as AKA-201")
        case _:
            _check_form(name, value)


def _check_form(name: str, value: Any) -> None:
    """Check what needs nothing of the steps and of the diagnosis."""
    match name:
        case "load":
            _check_load(value)
        case "namespace":
            _check_namespace(value)
        case "bundle" | "records":
            _check_path(name, value)


def _check_namespace(value: str) -> None:
    if not re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        action = "Use at most 63 lower-case letters, digits and hyphens, such as airflow, or leave it empty."
        raise InvalidParameter(f'namespace: "{value}" is not the name of a namespace.', action)


def _check_load(value: int) -> None:
    if not 0 < value <= _MOST_TASKS:
        action = f"Set `load` to a number from 1 to {_MOST_TASKS}, or to 0 for no load."
        raise InvalidParameter(f"load: {value} tasks cannot run at once.", action)


def _check_choice(name: str, value: str, choices: Iterable[str], form: str = "") -> None:
    if value not in choices:
        by_lower = {choice.lower(): choice for choice in choices}
        near = get_close_matches(value.lower(), by_lower, n=1)
        form = form or f"one of: {', '.join(choices)}"
        action = f'Did you mean "{by_lower[near[0]]}"?' if near else f"Set `{name}` to {form}."
        raise InvalidParameter(f'{name}: there is no "{value}".', action)


def _check_path(name: str, value: str) -> None:
    """Check that a file or the folder `records` can be written at a path; what exists stays as it is."""
    path, is_folder = Path(value).absolute(), name == "records"
    try:
        nearest = next(place for place in (path, *path.parents) if place.exists())
        if nearest == path and path.is_dir() is not is_folder:
            reason = "it is a folder" if path.is_dir() else "it is a file"
        elif nearest != path and not nearest.is_dir():
            reason = f"{nearest} is a file"
        elif _is_writable(nearest):
            return
        else:
            reason = f"{nearest} is read-only for you"
    except OSError as error:
        reason = str(error.strerror).lower()
    kind = "a folder" if is_folder else "a file"
    message = f"{name}: {value} cannot be written: {reason}."
    raise InvalidParameter(message, f"Set `{name}` to {kind} that you can write.")


def _is_writable(place: Path) -> bool:
    """Tell whether a folder takes a new file, or a file more text; root has every permission, also for /proc."""
    try:
        if place.is_dir():
            with TemporaryFile(dir=place):
                return True
        with place.open("ab"):
            return True
    except OSError:
        return False
