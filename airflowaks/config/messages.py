"""What is wrong with an environment file: one sentence a problem, with the key, its line, the rule and the fix.

YAML is read node by node first, because the values alone no longer tell on which line they stood, that a key was given
twice, or that 1.3 was written 1.30.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from airflowaks.config.schema import Section

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails
    from yaml import Node

Key = tuple[str | int, ...]

KINDS = {bool: "true or false", dict: "a mapping", float: "a number", int: "a number", list: "a list", str: "text"}

# What pydantic finds by itself, by its error type; {shown} is the value as written, the rest is pydantic's own context.
SENTENCES = {
    "is_instance_of": "{shown} is not a path; write it in quotes",
    "int_type": "{shown} is not a whole number; write digits alone, without quotes",
    "bool_type": "{shown} is neither true nor false; write one of the two, without quotes",
    "greater_than_equal": "{shown} is too small; use {ge} or more",
    "less_than_equal": "{shown} is too large; use {le} or less",
    "string_too_short": "{shown} is too short; use at least {min_length} character",
    "string_too_long": "the text is too long; use at most {max_length} characters",
    "too_long": "the list is too long; use at most {max_length} items",
    "tuple_type": '{shown} is not a list; write each item on a line of its own, after "- "',
    "dict_type": "{shown} is not a mapping; write its keys on the lines below, further in",
    "model_type": "{shown} is not a mapping; write its keys on the lines below, further in",
    "union_tag_invalid": '"{tag}" is not a kind of broker; use one of {expected_tags}',
    "invalid_key": "the name of a key is text; remove it, or put it in quotes",
}


@dataclass(frozen=True)
class Document:
    """A YAML document: its content, the line of every key, and how every plain value was written."""

    content: Any
    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)
    duplicates: list[Key] = field(default_factory=list)


def parse(text: str) -> Document:
    """Read one YAML document, safely.

    Raises:
        ValueError: the text is not YAML; the sentence says where and why.

    """
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        document = Document(loader.construct_document(node) if node else {})
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem}; the file is not YAML as it stands") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{error}; the file is not YAML as it stands") from error
    finally:
        loader.dispose()
    if node:
        _note(node, (), document, set())
    return document


def _note(node: "Node", key: Key, document: Document, seen: set[int]) -> None:
    import yaml

    if id(node) in seen:  # an alias, which may even lead back to where it stands
        return
    seen.add(id(node))
    document.lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        document.written[key] = node.value
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _note(item, (*key, position), document, seen)
    else:
        keys = set()
        for name, value in node.value:
            below = (*key, str(name.value))
            if below in keys:
                document.duplicates.append(below)
            keys.add(below)
            document.lines[below] = name.start_mark.line + 1
            _note(value, below, document, seen)


def sentences(document: Document, error: "ValidationError | None", model: type[Section]) -> list[str]:
    """Return one sentence for every duplicate key and for everything that `model` refused, in the file's order."""
    found = [(key, "is given twice; remove one of the two") for key in document.duplicates]
    for detail in error.errors(include_url=False) if error else ():
        # A default that is computed from a key is missing only because that key is wrong, which is told already.
        if detail["type"] != "default_factory_not_called":
            key, models = _place(_location(detail), model)
            found.append((key, _sentence(detail, key, models, document, model)))
    found.sort(key=lambda problem: _line(document, problem[0]))
    return [f"{_dotted(key)} (line {_line(document, key)}): {sentence}" for key, sentence in found]


def _line(document: Document, key: Key) -> int:
    # What the file does not say, a missing key or a default, is told where its section begins.
    return next(
        (document.lines[key[:length]] for length in range(len(key), -1, -1) if key[:length] in document.lines), 1
    )


def _dotted(key: Key) -> str:
    return ".".join(map(str, key)) or "the file"


def _location(detail: "ErrorDetails") -> Key:
    match detail["type"]:
        case "union_tag_invalid":
            return (*detail["loc"], "kind")
        case "invalid_key":  # as the file has it, even where it looks like a number
            return tuple(map(str, detail["loc"]))
        case _:
            return detail["loc"]


def _place(location: Key, model: type[Section]) -> tuple[Key, list[type[Section]]]:
    """Return the key in the file that pydantic's `location` means, and the models that could hold it."""
    key: Key = ()
    holders = inside = [model]
    for part in location:
        of_kind = [each for each in inside if "kind" in each.model_fields and each.model_fields["kind"].default == part]
        if of_kind:  # pydantic names the member of a union that it tried, the file does not
            inside = of_kind
        elif part != "[key]":
            key = (*key, part)
            holders = inside
            below = (each.model_fields[str(part)].annotation for each in inside if part in each.model_fields)
            inside = [found for annotation in below for found in _models(annotation)] or inside
    return key, holders


def _models(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _known_keys(model: type[Section], above: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield above + name
        for section in _models(info.annotation):
            yield from _known_keys(section, f"{above}{name}.")


def _sentence(
    detail: "ErrorDetails", key: Key, holders: list[type[Section]], document: Document, model: type[Section]
) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    shown = document.written.get(key, "") if not isinstance(value, str) else f'"{value}"'
    shown = shown or KINDS.get(type(value), "this")
    match detail["type"]:
        case "value_error":
            sentence = str(context["error"])
        case "missing":
            description = next((each.model_fields[str(key[-1])].description for each in holders), None)
            sentence = f"is missing; add it ({description})"
        case "extra_forbidden":
            sentence = _unknown(key, holders, model)
        case "string_type" if isinstance(value, dict | list):
            sentence = f"{shown} stands where text is wanted; write the text on the key's own line"
        case "string_type":
            sentence = f'{shown} is read as {_reading(value)} and not as text; put it in quotes: "{shown}"'
        case "literal_error":
            sentence = f"{shown} is not one of {context['expected']}; {_nearest_choice(value, context['expected'])}"
        case kind if kind in SENTENCES:
            sentence = SENTENCES[kind].format(shown=shown, **context)
        case _:
            sentence = detail["msg"]
    return sentence


def _reading(value: Any) -> str:
    return f"the number {value}" if type(value) is float else KINDS.get(type(value), "a date")


def _unknown(key: Key, holders: list[type[Section]], model: type[Section]) -> str:
    section, name = key[:-1], str(key[-1])
    # A file does not name its environment: the file's own name does.
    known = sorted({field for each in holders for field in each.model_fields if (each, field) != (model, "name")})
    if near := get_close_matches(name, known, n=1):
        return f'no such key; did you mean "{_dotted((*section, near[0]))}"?'
    # The right key in the wrong section is the other slip that is made by hand.
    elsewhere = [each for each in _known_keys(model) if each.rpartition(".")[2] == name]
    if elsewhere and "kind" not in known:
        return f'no such key here; did you mean "{elsewhere[0]}"?'
    return f"no such key here; known are {', '.join(known)}"


def _nearest_choice(value: Any, expected: str) -> str:
    choices = re.findall(r"'([^']*)'|(\d+)", expected)
    if isinstance(value, int):
        sizes = sorted(int(number) for _, number in choices if number)
        return f"use {next((size for size in sizes if size >= value), sizes[-1])}" if sizes else "use one of them"
    names = {text.lower(): text for text, _ in choices if text}
    near = get_close_matches(str(value).lower(), names, n=1)
    return f'did you mean "{names[near[0]]}"?' if near else "use one of them"
