"""Where tests stand: as the packages do, under names of their own."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.repository import REPOSITORY

MODULES = sorted((REPOSITORY / "tests").rglob("test_*.py"))


def test_no_two_test_modules_have_the_same_name() -> None:
    assert [name for name, count in Counter(path.name for path in MODULES).items() if count > 1] == []


@pytest.mark.parametrize("package", ["airflowaks", "rehearsal_cloud"])
def test_the_tests_of_a_package_stand_in_folders_called_as_its_own(package: str) -> None:
    folders = {path.parent.relative_to(REPOSITORY / "tests") for path in MODULES}
    tested = {folder for folder in folders if folder.parts[0] == package}
    assert tested
    assert [folder for folder in sorted(tested) if not (REPOSITORY / folder).is_dir()] == []
