"""No secret leaves a kernel: not through streams, results, displays, logs, tracebacks or replies."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from jupyter_client.manager import start_new_kernel

from airflowaks.cloud.redaction import MASK, Redactor, Secret
from tests.support.notebooks import PARAMETERS, START, Executed, papermill, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

# Characters that a URL, HTML, JSON and repr each write in a way of their own.
SECRET = 'p&ss"wörd/\\<1>2:3@4'
SPELLINGS = [
    SECRET,
    quote(SECRET),
    quote(SECRET, safe=""),
    html.escape(SECRET),
    json.dumps(SECRET)[1:-1],
    repr(SECRET)[1:-1],
    b64encode(SECRET.encode()).decode(),
]
LEARN = """
from pathlib import Path
secret = Path("secret.txt").read_text(encoding="utf-8")
_ = run.session.redactor.learn(secret)
"""
LEAKS = """
import json, logging, sys, warnings
from IPython.display import HTML, JSON, Markdown, display
from airflowaks.engine.table import Table
print(secret, "printed")
print(secret, file=sys.stderr)
logging.getLogger().error("logged %s", secret)
warnings.warn(secret)
display(HTML(f"<b>{secret}</b>"), Markdown(secret), JSON({secret: [secret, {"in": secret}]}))
display(display_id="twice", obj=secret)
display(secret, display_id="twice", update=True)
display(Table(("name", "value"), [("short", secret)], secret, secret))
secret, {"in": [secret]}
"""
FAILURE = "raise ValueError(f'cannot connect to postgresql://airflow:{secret}@host')"

pytestmark = pytest.mark.broad


@pytest.fixture(scope="module")
def leaky(workplaces: object) -> Executed:
    """The record of a run that tried its best to leak."""
    folder = workplaces()  # type: ignore[operator]
    (folder / "secret.txt").write_text(SECRET, encoding="utf-8")
    write_notebook(folder / "leaky.ipynb", PARAMETERS, START, LEARN, LEAKS, FAILURE)
    done = papermill("leaky.ipynb", "out.ipynb", "--log-output", cwd=folder)
    (folder / "printed.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return Executed(folder / "out.ipynb")


def test_no_spelling_of_a_secret_is_in_the_record_or_in_what_papermill_printed(leaky: Executed) -> None:
    record = leaky.path.read_text(encoding="utf-8")
    printed = leaky.path.with_name("printed.txt").read_text(encoding="utf-8")
    texts = [json.dumps(output) for output in leaky.outputs] + [str(output) for output in leaky.outputs]
    for spelling in SPELLINGS:
        assert not any(spelling in text for text in (record, printed, *texts)), spelling


def test_the_rest_of_every_output_is_still_there(leaky: Executed) -> None:
    streams = "".join(output.text for output in leaky.outputs if output.output_type == "stream")
    assert f"{MASK} printed" in streams
    assert f"logged {MASK}" in streams
    assert f"UserWarning: {MASK}" in streams
    assert {MASK: [MASK, {"in": MASK}]} in leaky.shown("application/json")
    assert f"<b>{MASK}</b>" in leaky.shown("text/html")
    assert leaky.shown("text/plain")[-1] == f"('{MASK}', {{'in': ['{MASK}']}})"


def test_a_foreign_exception_keeps_its_traceback(leaky: Executed) -> None:
    (error,) = leaky.errors
    assert error.evalue == f"cannot connect to postgresql://airflow:{MASK}@host"
    assert any("raise ValueError" in line or "ValueError" in line for line in error.traceback)
    assert len("\n".join(error.traceback).splitlines()) > 3
    assert f"ValueError: {error.evalue}" in leaky.path.with_name("printed.txt").read_text(encoding="utf-8")


def test_replies_are_masked_too_and_an_earlier_session_is_not_forgotten(workplace: Path) -> None:
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(workplace))
    try:
        begin = PARAMETERS + START
        client.execute_interactive(begin, output_hook=print, timeout=60)
        client.execute('secret = "of the first " + "session"; _ = run.session.redactor.learn(secret)', reply=True)
        client.execute_interactive(begin, output_hook=print, timeout=60)
        failed = client.execute("raise KeyError(secret)", reply=True)["content"]
        inspected = client.inspect("secret", reply=True)["content"]
        evaluated = client.execute("", user_expressions={"it": "secret"}, reply=True)["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
    assert failed["evalue"] == f"'{MASK}'"
    assert MASK in str(inspected)
    assert MASK in str(evaluated)
    assert "of the first session" not in f"{failed} {inspected} {evaluated}"


def test_spellings_are_masked_and_short_values_are_left_alone() -> None:
    redactor = Redactor()
    learnt = redactor.learn(SECRET)
    for spelling in SPELLINGS:
        assert redactor.redact(f"a{spelling}z") == f"a{MASK}z"
    assert isinstance(learnt, Secret)
    assert (str(learnt), repr(learnt), f"{learnt}", learnt.reveal()) == (MASK, MASK, MASK, SECRET)
    redactor.learn("short")
    assert redactor.redact("short") == "short"
