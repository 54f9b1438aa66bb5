"""Beginning and ending a run: provenance, parameters, confirmation, drift and checks, in real kernels."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import start_new_kernel

from airflowaks.engine.changes import CHANGES_MIME
from airflowaks.errors import InvalidParameter
from airflowaks.notebook.parameters import check_parameters
from airflowaks.notebook.provenance import RUN_MIME
from tests.support.notebooks import CLOSE, CONVERGE, PARAMETERS, START, Executed, execute, papermill, write_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_client.blocking import BlockingKernelClient

pytestmark = pytest.mark.broad


def record(records: Path, name: str) -> Executed:
    return Executed(records / f"{name}.ipynb")


def test_a_run_shows_where_it_comes_from(records: Path) -> None:
    begun, ended = record(records, "applied").shown(RUN_MIME)
    assert (begun["notebook"], begun["environment"], begun["mode"]) == ("small", "local", "apply")
    assert begun["parameters"] == {"env": "local", "mode": "apply", "force": False}
    assert begun["operator"] == "rehearsal-operator"
    assert begun["object_id"].count("-") == 4
    assert begun["started"].endswith("Z")
    assert begun["commit"] == "no git"
    assert begun["versions"]["python"].startswith("3.")
    assert len(begun["fingerprint"]) == 12
    assert ended["ended"] >= ended["started"] == begun["started"]


def test_a_commit_and_its_changes_are_recorded(workplace: Path) -> None:
    notebook = write_notebook(workplace / "small.ipynb", PARAMETERS, START)
    git = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True, cwd=workplace)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, cwd=workplace, capture_output=True, text=True)
    clean = execute(notebook, workplace.parent / "clean.ipynb")
    (workplace / "new.txt").touch()
    dirty = execute(notebook, workplace.parent / "dirty.ipynb")
    found = [(run["commit"], run["dirty"]) for one in (clean, dirty) for run in one.shown(RUN_MIME)]
    assert found == [(commit.stdout.strip(), False), (commit.stdout.strip(), True)]


def test_progress_leaves_one_line_and_the_changes_once(records: Path) -> None:
    applied = record(records, "applied")
    progress, *_ = [text for text in applied.shown("text/plain") if " in " in text]
    assert progress.startswith("3 resources in ")
    in_cell, in_closing = applied.shown(CHANGES_MIME)
    assert in_cell == in_closing
    # The failed run before it had made the first.
    assert [(one["name"], one["action"], one["applied"]) for one in in_cell] == [
        ("first.txt", "none", False),
        ("second.txt", "create", True),
        ("third.txt", "create", True),
    ]


def test_a_failure_is_two_lines_below_what_was_done_and_what_was_not(records: Path) -> None:
    failed = record(records, "failed")
    (error,) = failed.errors
    assert len(error.traceback) == 2
    assert error.traceback[0].startswith("unexpected: file second.txt: TypeError: ")
    assert error.traceback[1].startswith("→ ")
    (done,) = failed.shown(CHANGES_MIME)
    assert [one["name"] for one in done] == ["first.txt"]
    (table,) = [text for text in failed.shown("text/plain") if text.startswith("How far it came")]
    assert [line.split()[:2] for line in table.splitlines()[3:]] == [
        ["+", "done"],
        ["FAILED", "file"],
        ["not", "begun"],
    ]


def test_headless_failures_exit_non_zero_and_print_no_traceback_of_ours(workplace: Path) -> None:
    write_notebook(workplace / "small.ipynb", PARAMETERS, START, CONVERGE, CLOSE)
    done = papermill("small.ipynb", "out.ipynb", "-p", "mode", "check", cwd=workplace)
    assert done.returncode == 1
    printed = done.stderr[done.stderr.index("Exception encountered") :]
    assert printed.splitlines()[1:3] == [
        "drift-found: 3 of 3 would change in local: "
        + ", ".join(f"file {name}.txt (create)" for name in ("first", "second", "third"))
        + ".",
        "→ Run the notebook with mode=apply, or change the environment file to match.",
    ]
    assert len(Executed(workplace / "out.ipynb").shown(CHANGES_MIME)) == 2, "the closing table comes before the failure"
    assert not (workplace / "first.txt").exists()


def test_a_check_without_drift_passes(records: Path) -> None:
    checked = record(records, "checked")
    assert not checked.errors
    assert [one["action"] for one in checked.shown(CHANGES_MIME)[-1]] == ["none"] * 3


def test_a_failed_check_fails_the_run_once_all_is_shown(workplace: Path) -> None:
    look = (
        "from airflowaks.engine.observation import observe\n"
        'observe(run.session, {"file is there": lambda: open("no.txt").read()})'
    )
    notebook = write_notebook(workplace / "small.ipynb", PARAMETERS, START, look, CLOSE)
    done = execute(notebook, workplace / "out.ipynb")
    (error,) = done.errors
    assert error.ename == "CheckFailed"
    assert error.traceback[0].startswith("check-failed: 1 of 1 checks failed: file is there: ")
    assert "1 FAILED." in done.shown("text/plain")[-2]


@pytest.mark.parametrize(
    ("given", "injected", "message", "action"),
    [
        ({"env": 3}, "env = 3", "The parameter env must be text; got 3.", "papermill -r env VALUE"),
        (
            {"force": "true"},
            'force = "true"',
            "The parameter force must be True or False; got 'true'.",
            "True or False",
        ),
        ({"force": 1}, "force = 1", "The parameter force must be True or False; got 1.", "True or False"),
        ({"count": True}, "count = True", "The parameter count must be a whole number; got True.", "its default"),
        ({"env": None}, "env = None", "The parameter env must be text; got None.", "papermill -r"),
        ({}, 'mdoe = "plan"', 'small has no parameter "mdoe".', 'Did you mean "mode"?'),
        ({}, "zzz = 1\nforce = True", 'small has no parameter "zzz".', "It has: env, mode, force, count."),
    ],
)
def test_parameters_that_are_unknown_or_ill_typed(
    given: dict[str, Any], injected: str, message: str, action: str
) -> None:
    kinds = {"env": str, "mode": str, "force": bool, "count": int}
    values = {"env": "local", "mode": "apply", "force": False, "count": 1} | given
    cells = ["", PARAMETERS, "# Parameters\nold = 1\n", f"# Parameters\n{injected}\n", START]
    with pytest.raises(InvalidParameter) as raised:
        check_parameters("small", values, cells=cells, kinds=kinds)
    assert raised.value.message == message
    assert action in raised.value.action


def test_parameters_of_the_right_kind_pass() -> None:
    cells = ['# Parameters\nmode = "plan"\n']
    check_parameters("small", {"mode": "plan", "free": object()}, cells=cells, kinds={"mode": str})


def test_a_misspelt_parameter_stops_the_run_before_anything_is_done(records: Path) -> None:
    (error,) = record(records, "misspelt").errors
    assert error.traceback == ['invalid-parameter: small has no parameter "mdoe".', '→ Did you mean "mode"?']
    assert not record(records, "misspelt").shown(RUN_MIME)


@pytest.fixture
def kernel(workplace: Path) -> Iterator[BlockingKernelClient]:
    """A kernel as JupyterLab starts it, in the working directory."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(workplace))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def ask(kernel: BlockingKernelClient, code: str, *answers: str, allow_stdin: bool = True) -> tuple[Any, list[str]]:
    """Execute `code`, answer its questions, and return its reply with the questions."""
    questions, left = [], list(answers)

    def answer(message: Any) -> None:
        questions.append(message["content"]["prompt"])
        kernel.input(left.pop(0))

    quiet = {"output_hook": lambda _message: None, "stdin_hook": answer, "timeout": 60}
    reply = kernel.execute_interactive(code, allow_stdin=allow_stdin, **quiet)
    return reply["content"], questions


def begin(env: str, mode: str = "apply") -> str:
    return f'from airflowaks.notebook.run import start\nrun = start("small", env="{env}", mode="{mode}")\nrun'


def test_an_apply_to_azure_asks_whoever_can_answer(kernel: BlockingKernelClient) -> None:
    wrong, questions = ask(kernel, begin("dev"), "yes")
    assert (wrong["status"], wrong["ename"]) == ("error", "NotConfirmed")
    assert "Type dev to go on" in questions[0]
    assert "rehearsal-operator" in questions[0]
    right, questions = ask(kernel, begin("dev"), " dev ")
    assert (right["status"], len(questions)) == ("ok", 1)


def test_nobody_is_asked_where_nothing_is_at_stake_or_nobody_can_answer(kernel: BlockingKernelClient) -> None:
    for code, allow_stdin in ((begin("dev", "plan"), True), (begin("local"), True), (begin("dev"), False)):
        reply, questions = ask(kernel, code, allow_stdin=allow_stdin)
        assert (reply["status"], questions) == ("ok", [])


def test_progress_is_one_output_that_keeps_changing(kernel: BlockingKernelClient) -> None:
    ask(kernel, begin("local"))
    code = """
from airflowaks.engine.converge import converge
from files import SlowFile, TextFile
_ = converge(run.session, slow := SlowFile(run.session, "slow.txt", "1"), TextFile(run.session, "next.txt", "2", slow))
"""
    messages: list[Any] = []
    kernel.execute_interactive(code, output_hook=messages.append, timeout=60)
    shown = [one["content"] for one in messages if one["msg_type"] in {"display_data", "update_display_data"}]
    assert len({one["transient"]["display_id"] for one in shown}) == 1
    first, *between, last = [one["data"]["text/plain"] for one in shown]
    assert first == "0 of 2 done"
    assert re.fullmatch(r"0 of 2 done · file slow\.txt \([1-9] s\)", between[0])
    assert last.startswith("2 resources in ")


def test_outside_of_a_kernel_it_says_what_to_call_instead() -> None:
    done = subprocess.run([sys.executable, "-c", begin("local")], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "programs call airflowaks.session.open_session" in done.stderr


def test_importing_it_loads_no_sdk() -> None:
    code = "import sys, airflowaks.notebook.run; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "airflowaks" in loaded
    assert not {"azure", "msal", "psycopg", "redis", "cryptography", "rich", "pandas", "nbformat"} & set(loaded)
