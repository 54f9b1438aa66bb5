"""What a file may hold before its YAML is read: size, depth, length of a value, aliases, tags, invisible characters.

PyYAML composes recursively, an alias stands for all that its anchor holds, and constructors of explicit tags fail with
any exception (`!!bool maybe` with KeyError): a small file could exhaust the stack or run for minutes.
"""

from pathlib import Path

from airflowaks.config.naming import invisible_character

BYTES = 100_000
DEPTH = 12
# With the copies that aliases stand for.
NODES = 5_000
# The longest path that Linux and macOS both take is 1,024 bytes; no other value of the file is longer.
CHARACTERS = 1_024
_TEXT_TAG = "tag:yaml.org,2002:str"


def read(path: Path) -> str:
    """Return the text of the file.

    Raises:
        ValueError: it is not a file of UTF-8 text, or too large.
        OSError: the operating system refuses to read it.

    """
    if not path.is_file():  # a FIFO would block
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        content = file.read(BYTES + 1)
    if len(content) > BYTES:
        raise ValueError(f"it is larger than {BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: it is not UTF-8 text; save it with that encoding") from None


def check(text: str) -> None:
    """Refuse YAML that is dangerous to compose or construct; its events are read one at a time, without recursion.

    Raises:
        yaml.MarkedYAMLError: a limit is exceeded, or the text is not YAML; `problem` says which, `problem_mark` where.
        yaml.reader.ReaderError: the text contains a control character.

    """
    import yaml

    nodes, copies, opened = 0, dict[str | None, int](), list[tuple[str | None, int]]()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        problem = None
        match event:
            case yaml.AliasEvent():
                nodes += copies.get(event.anchor, 1)
            case yaml.ScalarEvent():
                nodes += 1
                copies[event.anchor] = 1
                problem = _problem(event.value)
            case yaml.CollectionStartEvent():
                opened.append((event.anchor, nodes))
                nodes += 1
            case yaml.CollectionEndEvent():
                anchor, before = opened.pop()
                copies[anchor] = nodes - before
        if (tag := getattr(event, "tag", None)) not in {None, _TEXT_TAG}:
            short = str(tag).replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {short} is not allowed; remove it, and put text in quotes"
        elif len(opened) > DEPTH:
            problem = f"it is nested more than {DEPTH} levels deep; no key of the file is"
        elif nodes > NODES:
            problem = f"it has more than {NODES:,} values, with those that aliases repeat; remove some"
        if problem:
            # The stubs add the mark of libyaml's parser, which SafeLoader is not.
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]


def _problem(value: str) -> str | None:
    if len(value) > CHARACTERS:
        return f"the text has {len(value):,} characters; at most {CHARACTERS:,} are allowed"
    if "\n" in value:
        return "the text contains a line break; write it in quotes on one line"
    invisible = invisible_character(value)
    return f"the text contains the invisible character {invisible}; remove it" if invisible else None
