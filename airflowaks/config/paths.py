"""The checkout of this repository that a program runs in: where its manifests are."""

from __future__ import annotations

from pathlib import Path

from airflowaks.errors import InvalidEnvironment


def manifests_folder(name: str) -> Path:
    """Return `manifests/<name>` of the working directory, its nearest parent that has one, or beside the package.

    So it is found from the repository, from its notebooks, and from anywhere else while the package is installed from
    a checkout. Raises InvalidEnvironment where there is none.
    """
    relative = Path("manifests", name)
    beside_package = Path(__file__).resolve().parents[2]
    for root in (Path.cwd(), *Path.cwd().parents, beside_package):
        if (root / relative).is_dir():
            return root / relative
    raise InvalidEnvironment(
        f"There is no folder {relative} in {Path.cwd()}, above it, or beside the package.",
        "Run from within a checkout of the repository.",
    )
