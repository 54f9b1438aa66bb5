"""The image of an environment, by its digest, for programs that look into it: `python -m airflowaks.image --env dev`.

It is the one that step 2 would make with the files that are here, and has made; nothing is written.
"""

from __future__ import annotations

import argparse
import sys

from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.errors import AirflowAksError, MissingDependency
from airflowaks.session import open_session
from airflowaks.steps import registry


def main(arguments: list[str] | None = None) -> int:
    """Print the image's reference (`host/repository@sha256:…`); return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m airflowaks.image", description=__doc__)
    parser.add_argument("--env", default="local", help="the environment (default: local)")
    parser.add_argument("--image", default="", help="import, build, existing, a digest or a tag (default: its file's)")
    options = parser.parse_args(arguments)
    try:
        session = open_session(options.env, "plan")
        image = registry.choose(session, options.image)
        with session.translated(image):
            reference = image.reference
        if reference is AFTER_APPLY:
            raise MissingDependency(f"{image.id} is not in the registry.", "Run step 2 with mode=apply.")
    except AirflowAksError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{reference}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
