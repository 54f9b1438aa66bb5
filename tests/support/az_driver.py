"""Runs az commands in one process, for az takes a second to start: az's own Python runs this file.

Reads a JSON list of argument lists; prints a JSON object a line: exit code, output and messages of each command.
"""

import contextlib
import io
import json
import logging
import sys

from azure.cli.core import get_default_cli


def main() -> None:
    """Invoke every command as the program `az` does."""
    messages = io.StringIO()
    handler = logging.StreamHandler(messages)
    handler.setLevel(logging.WARNING)
    answers = sys.stdout
    for arguments in json.load(sys.stdin):
        output, code = io.StringIO(), 0
        messages.truncate(messages.seek(0))
        cli = get_default_cli()
        for name in ("az", "cli"):
            logging.getLogger(name).handlers = [handler]
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages):
                code = cli.invoke(arguments, out_file=output)
        except SystemExit as left:
            code = left.code
        answer = {"code": code, "output": output.getvalue(), "messages": messages.getvalue()}
        print(json.dumps(answer), file=answers, flush=True)


main()
