"""The git commit of the working directory, which run records and images name as their origin."""

from __future__ import annotations

import shutil
import subprocess

NO_GIT = "no git"


def commit() -> tuple[str, bool]:
    """Return the commit of the working directory, and whether there are uncommitted changes."""
    git = shutil.which("git")
    if git is None:
        return NO_GIT, False
    command = [git, "status", "--porcelain=v2", "--branch"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")
    lines = done.stdout.splitlines()
    revision = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), NO_GIT)
    return revision, any(not line.startswith("#") for line in lines)
