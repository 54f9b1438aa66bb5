"""The error tree: its picture, its codes, and how it shows."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import TYPE_CHECKING

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from airflowaks import errors
from airflowaks.errors import AirflowAksError, AzureError, QuotaExceeded

if TYPE_CHECKING:
    from pathlib import Path

TREE = {
    name: each
    for name, each in vars(errors).items()
    if inspect.isclass(each) and issubclass(each, BaseException) and each.__module__ == errors.__name__
}


def drawn() -> dict[str, str]:
    """Each name of the picture in the module's docstring, with the name that it hangs from."""
    hangs_from: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│ ├└─]*)([A-Z]\w+)", line):
            depth = len(found[1]) // 4
            del above[depth:]
            if above:
                hangs_from[found[2]] = above[-1]
            above.append(found[2])
    return hangs_from


def test_the_picture_is_the_tree() -> None:
    bases = {name: each.__base__.__name__ for name, each in TREE.items() if each is not AirflowAksError}
    assert drawn() == bases
    assert len(bases) == len(TREE) - 1 > 20


def test_every_error_has_a_code_of_its_own_in_kebab_case() -> None:
    codes = [vars(each)["code"] for each in TREE.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    by_name = {re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower(): vars(each)["code"] for name, each in TREE.items()}
    assert {name: code for name, code in by_name.items() if name != code} == {"airflow-aks-error": "error"}


@pytest.mark.parametrize("error", TREE.values(), ids=TREE)
def test_an_error_is_two_lines(error: type[AirflowAksError]) -> None:
    raised = error("The vault is gone.", "Run step 4.")
    assert raised._render_traceback_() == [f"{error.code}: The vault is gone.", "→ Run step 4."]
    assert str(raised) == "The vault is gone.\n→ Run step 4."


def test_a_notebook_shows_the_two_lines_and_still_fails(tmp_path: Path) -> None:
    no_history = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell(config=no_history, ipython_dir=str(tmp_path))
    with capture_output() as shown:
        done = shell.run_cell(
            'from airflowaks.errors import QuotaExceeded\nraise QuotaExceeded("Too many cores.", "Ask for more.")'
        )
    assert isinstance(done.error_in_exec, QuotaExceeded)
    assert shown.stdout.splitlines() == ["quota-exceeded: Too many cores.", "→ Ask for more."]


def test_azures_code_survives_another_process() -> None:
    error = pickle.loads(pickle.dumps(QuotaExceeded("Too many.", "Ask.", "OperationNotAllowed")))  # noqa: S301 - our own
    assert isinstance(error, AzureError)
    assert (error.message, error.action, error.azure_code) == ("Too many.", "Ask.", "OperationNotAllowed")
