"""The messages for an invalid environment file: one sentence per problem, with key, line, rule and fix.

The file is read as YAML nodes first: the parsed values hold no line numbers, no duplicate keys, and 1.3 where the file
has 1.30.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any, get_args

from airflowaks.config import limits
from airflowaks.config.schema import Section

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails
    from yaml import Node, SafeLoader

Key = tuple[str | int, ...]

KINDS = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "text",
    type(None): "no value",
}

# By pydantic's error type; {shown} is the value as written in the file, the other fields are pydantic's context.
SENTENCES = {
    "is_instance_of": "must be a path in quotes; got {shown}",
    "int_type": "must be a whole number without quotes; got {shown}",
    "bool_type": "must be true or false without quotes; got {shown}",
    "greater_than_equal": "{shown} is too small; use {ge} or more",
    "less_than_equal": "{shown} is too large; use {le} or less",
    "string_too_short": "{shown} is too short; use at least {min_length} character",
    "string_too_long": "the text is too long; use at most {max_length} characters",
    "too_long": "the list is too long; use at most {max_length} items",
    "tuple_type": '{shown} is not a list; write each item on its own line, after "- "',
    "dict_type": "{shown} is not a mapping; write its keys on the lines below, indented",
    "model_type": "{shown} is not a mapping; write its keys on the lines below, indented",
}

# By the words of PyYAML's error: what to write instead.
YAML_SENTENCES = {
    r"found character '\\t'": "the line begins with a tab; indent with spaces",
    r"found character '(.)'": 'text that begins with {0} must be in quotes; write "{0}…"',
    r"found undefined alias '(.*)'": 'there is no anchor &{0}; put text that begins with * in quotes: "*{0}"',
    r"found unhashable key": "text with braces or brackets must be in quotes",
    r"mapping values are not allowed": 'text with ": " must be in quotes; indent keys as their neighbours are',
    r"found unexpected end of stream": "a quote is not closed; add it at the end of the text",
    r"expected ',' or '(.)'": "a list or mapping is not closed; add {0}",
    r"found unknown escape character '(.)'": r"\{0} means nothing between double quotes; use single quotes",
    r"another document": "a second document begins; the file must have one, remove the line",
}
_TEXT_TAG = "tag:yaml.org,2002:str"
YAML_SENTENCE = "it is not valid YAML; put text with special characters in quotes, indent keys as their neighbours are"


@dataclass(frozen=True)
class Document:
    """A YAML document: its content, the line of each key, and the original text of each scalar."""

    content: Any
    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)
    duplicates: list[Key] = field(default_factory=list)
    # Integers that YAML reads as octal (0200 is 128), hexadecimal, binary or sexagesimal (1:04 is 64).
    undecimal: list[Key] = field(default_factory=list)
    nodes: set["Node"] = field(default_factory=set, repr=False)


def parse(text: str) -> Document:
    """Read one YAML document with the safe loader, within the limits.

    Raises:
        ValueError: the text is not valid YAML or exceeds a limit; the message says where and why.

    """
    import yaml

    try:
        limits.check(text)
        loader = yaml.SafeLoader(text)
        document = Document({})
        if node := loader.get_single_node():
            _index(node, (), document, loader)
            document = replace(document, content=loader.construct_document(node))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the control character U+{error.character:04X} is not text; remove it") from None
    except yaml.MarkedYAMLError as error:
        # The limits have sentences of their own.
        problem = error.problem if type(error) is yaml.MarkedYAMLError else _yaml_sentence(str(error.problem))
        # What is not closed is found at the end of the file, and begins at the context.
        mark = error.context_mark if "not closed" in str(problem) else error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{problem}") from error
    return document


def _yaml_sentence(problem: str) -> str:
    for pattern, sentence in YAML_SENTENCES.items():
        if words := re.search(pattern, problem):
            return sentence.format(*words.groups())
    return YAML_SENTENCE


def _index(node: "Node", key: Key, document: Document, loader: "SafeLoader") -> None:
    import yaml

    if node in document.nodes:  # an alias, possibly circular
        return
    document.nodes.add(node)
    document.lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        document.written[key] = node.value
        try:
            loader.yaml_constructors[node.tag](loader, node)
        except (KeyError, ValueError):  # = and <<; a date such as 2026-99-99
            node.tag = _TEXT_TAG
        if node.tag == "tag:yaml.org,2002:int" and not re.fullmatch("[-+]?(0|[1-9][0-9]*)", node.value):
            document.undecimal.append(key)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _index(item, (*key, position), document, loader)
    else:
        keys = set()
        for name, value in node.value:
            path = (*key, str(name.value))
            if path in keys:
                document.duplicates.append(path)
            keys.add(path)
            document.lines[path] = name.start_mark.line + 1
            if isinstance(name, yaml.ScalarNode) and name.value != "<<":  # every key is text: 17, true, null
                name.tag = _TEXT_TAG
            _index(value, path, document, loader)


def sentences(document: Document, error: "ValidationError | None", model: type[Section]) -> list[str]:
    """Return one sentence for each duplicate key and each error of `model`, in the file's order."""
    problems = [(key, "appears twice; remove one of the two") for key in document.duplicates]
    undecimal = dict.fromkeys(document.undecimal)
    for detail in error.errors(include_url=False) if error else ():
        # A default computed from another key fails only if that key is invalid, which has its own sentence.
        if detail["type"] != "default_factory_not_called":
            key, models = _place(_location(detail), model)
            if detail["type"] == "string_type" or key not in undecimal:
                problems.append((key, _sentence(detail, key, models, document, model)))
                undecimal.pop(key, None)
    problems += [
        (key, f"{document.written[key]} is not a decimal number; write it with the digits 0 to 9, no zero first")
        for key in undecimal
    ]
    problems.sort(key=lambda problem: _line(document, problem[0]))
    return [f"{_dotted(key)} (line {_line(document, key)}): {sentence}" for key, sentence in problems]


def _line(document: Document, key: Key) -> int:
    # A missing key or a default has no line of its own: the first line of its section stands for it.
    return next(
        (document.lines[key[:length]] for length in range(len(key), -1, -1) if key[:length] in document.lines), 1
    )


def _dotted(key: Key) -> str:
    return ".".join(str(part) if str(part).strip() else f'"{part}"' for part in key) or "the file"


def _location(detail: "ErrorDetails") -> Key:
    return (*detail["loc"], "kind") if detail["type"] == "union_tag_invalid" else detail["loc"]


def _place(location: Key, model: type[Section]) -> tuple[Key, list[type[Section]]]:
    """Return the key in the file for a pydantic error location, and the models that can hold that key."""
    key: Key = ()
    holders = inside = [model]
    for part in location:
        members = [each for each in inside if "kind" in each.model_fields and each.model_fields["kind"].default == part]
        if members:  # a pydantic location includes the union member that was tried, a key in the file does not
            inside = members
        elif part != "[key]":
            key = (*key, part)
            holders = inside
            annotations = (each.model_fields[str(part)].annotation for each in inside if part in each.model_fields)
            inside = [section for annotation in annotations for section in _models(annotation)] or inside
    return key, holders


def _models(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _all_keys(model: type[Section], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield prefix + name
        for section in _models(info.annotation):
            yield from _all_keys(section, f"{prefix}{name}.")


def _sentence(
    detail: "ErrorDetails", key: Key, holders: list[type[Section]], document: Document, model: type[Section]
) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    if detail["type"] == "union_tag_invalid":
        value = value["kind"]
    shown = document.written.get(key, "") if not isinstance(value, str) else f'"{value}"'
    shown = shown or KINDS.get(type(value), "this")
    match detail["type"]:
        case "value_error":
            sentence = str(context["error"])
        case "missing":
            description = next((each.model_fields[str(key[-1])].description for each in holders), None)
            sentence = f"is missing; add it ({description})"
        case "extra_forbidden":
            sentence = _unknown_key(key, holders, model)
        case "string_type" if isinstance(value, dict | list):
            sentence = f"must be text; got {shown}; write the text on the key's line"
        case "string_type" if value is None and not document.written.get(key):
            sentence = "has no value; add one or remove the line"
        case "string_type":
            kind = (
                f"the number {value}" if type(value) is float and isfinite(value) else KINDS.get(type(value), "a date")
            )
            sentence = f'YAML reads {shown} as {kind}; put it in quotes: "{shown}"'
        case "literal_error" | "union_tag_invalid":
            expected = context.get("expected") or " or ".join(context["expected_tags"].rsplit(", ", 1))
            sentence = f"{shown} is not one of {expected}; {_nearest_choice(value, expected)}"
        case kind if kind in SENTENCES:
            sentence = SENTENCES[kind].format(shown=shown, **context)
        case _:
            sentence = detail["msg"]
    return sentence


def _unknown_key(key: Key, holders: list[type[Section]], model: type[Section]) -> str:
    section, name = key[:-1], str(key[-1])
    # `name` is not a key of the file: the file name is the environment's name.
    fields = sorted({field for each in holders for field in each.model_fields if (each, field) != (model, "name")})
    if near := get_close_matches(name, fields, n=1):
        return f'no such key; did you mean "{_dotted((*section, near[0]))}"?'
    # A valid key in the wrong section is the other common mistake; `name` alone says nothing.
    elsewhere = [each for each in _all_keys(model) if each.rpartition(".")[2] == name]
    below = [each for each in elsewhere if each.startswith(f"{_dotted(section)}.")] or elsewhere
    if len(below) == 1 and "kind" not in fields:
        return f'no such key here; did you mean "{below[0]}"?'
    return f"no such key here; valid keys are {', '.join(fields)}"


def _nearest_choice(value: Any, expected: str) -> str:
    choices = re.findall(r"'([^']*)'|(\d+)", expected)
    if isinstance(value, int):
        sizes = sorted(int(number) for _, number in choices if number)
        return f"use {next((size for size in sizes if size >= value), sizes[-1])}" if sizes else "use one of these"
    names = {text.lower(): text for text, _ in choices if text}
    near = get_close_matches(str(value).lower(), names, n=1)
    return f'did you mean "{names[near[0]]}"?' if near else "use one of these"
