"""The path of the manifests in the checkout of this repository."""

from __future__ import annotations

from pathlib import Path

from airflowaks.errors import InvalidEnvironment


def manifests_folder(name: str) -> Path:
    """Return `manifests/<name>` of the working directory, of its nearest parent that has it, or beside the package.

    The last one works from any directory while the package is installed from a checkout. Raises InvalidEnvironment if
    none of them exists.
    """
    relative = Path("manifests", name)
    beside_package = Path(__file__).resolve().parents[2]
    for root in (Path.cwd(), *Path.cwd().parents, beside_package):
        if (root / relative).is_dir():
            return root / relative
    raise InvalidEnvironment(
        f"There is no folder {relative} in {Path.cwd()}, above it, or beside the package.",
        "Change to a checkout of the repository and run again.",
    )


def records_folder() -> Path:
    """Return the folder `runs` beside the manifests. Raises InvalidEnvironment where there are no manifests."""
    return manifests_folder("environments").parents[1] / "runs"
