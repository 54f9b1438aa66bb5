"""The files of root certificates that programs leave when they are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from airflowaks.cloud.certificates import as_file
print(as_file(b"a root").parent, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such locks")
def test_the_next_program_removes_what_killed_ones_left(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], str]:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        assert program.stdout
        return program, program.stdout.readline().strip()

    def left() -> set[str]:
        return {str(path) for path in tmp_path.iterdir()}

    foreign = tmp_path / "airflowaks-other"
    foreign.mkdir()
    (living, living_folder), (killed, killed_folder), (young, young_folder) = start(), start(), start()
    killed.kill()
    young.kill()
    for program in (killed, young):
        program.communicate()
    for folder in (living_folder, killed_folder, str(foreign)):
        os.utime(folder, (0, 0))
    assert left() == {str(foreign), living_folder, killed_folder, young_folder}

    ended, ended_folder = start()
    assert left() == {str(foreign), living_folder, young_folder, ended_folder}

    for program in (ended, living):
        program.communicate("")
        assert program.returncode == 0
    assert left() == {str(foreign), young_folder}
