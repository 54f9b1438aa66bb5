"""Converge, with resources that are files on this disk, and once with Azure's own."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflowaks.azure.arm import merge
from airflowaks.azure.subscription import ResourceGroup
from airflowaks.cloud.connection import Connection
from airflowaks.config.environment import load_environment
from airflowaks.engine.changes import AFTER_APPLY, Action, Difference
from airflowaks.engine.converge import converge
from airflowaks.engine.diff import compare
from airflowaks.engine.resource import Resource
from airflowaks.engine.results import Results
from airflowaks.errors import AirflowAksError, ImmutableProperty, MissingDependency, NotConverged, Unexpected
from airflowaks.session import Session, open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from airflowaks.engine.changes import Change
    from airflowaks.engine.resource import Facts
    from airflowaks.session import Mode
    from tests.support.rehearsal import Rehearsal

SECONDS = 30.0
WANTED = {"colour": "blue", "size": {"height": 2}}


class File(Resource):
    """A JSON file; `journal` holds what was done to it, in order."""

    kind = "file"
    immutable = ("size.width", "pages[].number")
    decided_by_service = ("etag",)
    settling_seconds = 0.0

    def __init__(
        self,
        session: Session,
        path: Path,
        wanted: Any = None,
        *,
        parent: Resource | None = None,
        depends_on: Sequence[Resource] = (),
        writing: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(session, path.name, parent=parent, depends_on=depends_on)
        self.path = path
        self.wanted = WANTED if wanted is None else wanted
        self.writing = writing
        self.journal: list[str] = []

    @property
    def id(self) -> str:
        return self.path.as_uri()

    def read(self) -> Facts | None:
        self.journal.append("read")
        try:
            facts: Facts = json.loads(self.path.read_text())
        except FileNotFoundError:
            return None
        return facts

    def desired(self) -> Facts:
        wanted: Facts = self.wanted
        return wanted

    def write(self, facts: Facts | None) -> None:
        self.journal.append("write")
        self.writing()
        self.path.write_text(json.dumps(merge(facts or {}, {"etag": "1", **self.wanted})))

    def unfinished(self, facts: Facts) -> bool:
        return facts.get("state") == "unfinished"

    def needs_rewrite(self, facts: Facts) -> bool:
        return facts.get("state") == "broken"


def session_of(mode: Mode) -> Session:
    return Session(load_environment("local"), mode, Connection(credential=None))  # type: ignore[arg-type]


@pytest.fixture
def session() -> Session:
    return session_of("apply")


def test_apply_reads_writes_and_reads_again(session: Session, tmp_path: Path) -> None:
    file = File(session, tmp_path / "a")
    (change,) = converge(session, file)
    assert file.journal[:3] == ["read", "write", "read"]
    assert json.loads(file.path.read_text()) == {"etag": "1", **WANTED}
    assert (change.action, change.applied, change.id) == (Action.CREATE, True, file.path.as_uri())
    assert change.differences == (Difference("colour", None, "blue"), Difference("size.height", None, 2))
    assert session.memoize(Results).changes == [change]
    assert file.recently_written


def test_what_is_as_wanted_is_read_once_and_never_written(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps({**WANTED, "of": "others"}))
    file = File(session, tmp_path / "a")
    (change,) = converge(session, file)
    assert file.journal == ["read"]
    assert (change.action, change.applied, file.recently_written) == (Action.NONE, False, False)


def test_an_update_leaves_what_it_does_not_name(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps({"colour": "red", "of": "others", "size": {"height": 2, "depth": 3}}))
    (change,) = converge(session, File(session, tmp_path / "a"))
    assert change.differences == (Difference("colour", "red", "blue"),)
    after = json.loads((tmp_path / "a").read_text())
    assert after == {"etag": "1", "colour": "blue", "of": "others", "size": {"height": 2, "depth": 3}}


@pytest.mark.parametrize("mode", ["plan", "check"])
def test_plan_and_check_write_nothing(mode: Mode, tmp_path: Path) -> None:
    session = session_of(mode)
    (tmp_path / "b").write_text('{"colour": "red"}')
    absent, drifted = File(session, tmp_path / "a"), File(session, tmp_path / "b")
    changes = converge(session, absent, drifted)
    assert [(change.action, change.applied) for change in changes] == [(Action.CREATE, False), (Action.UPDATE, False)]
    assert (absent.journal, drifted.journal) == (["read"], ["read"])
    assert not absent.path.exists()
    assert drifted.path.read_text() == '{"colour": "red"}'


def test_the_broken_is_written_again(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps({**WANTED, "state": "broken"}))
    (change,) = converge(session, File(session, tmp_path / "a"))
    assert (change.action, change.differences, change.applied) == (Action.UPDATE, (), True)


def test_an_earlier_write_is_waited_for(session: Session, tmp_path: Path) -> None:
    class Creating(File):
        def read(self) -> Facts | None:
            if len(self.journal) == 2:
                self.path.write_text(json.dumps(WANTED))
            return super().read()

    (tmp_path / "a").write_text('{"state": "unfinished"}')
    file = Creating(session, tmp_path / "a")
    (change,) = converge(session, file)
    assert (change.action, file.journal) == (Action.NONE, ["read", "read", "read"])


def test_what_stays_unfinished_is_not_written_over(session: Session, tmp_path: Path) -> None:
    class Stuck(File):
        @property
        def finishing_seconds(self) -> float:
            """What is read meanwhile, such as more nodes, changes it."""
            return 60.0 * (len(self.journal) - 1)

    (tmp_path / "a").write_text('{"state": "unfinished"}')
    file = Stuck(session, tmp_path / "a")
    with pytest.raises(NotConverged, match=r"file a is still being written by .* another tool, after 0 minutes"):
        converge(session, file)
    assert set(file.journal) == {"read"}


@pytest.mark.parametrize(
    ("made", "fresh"),
    [(timedelta(minutes=1), True), (timedelta(minutes=11), False), (timedelta(minutes=-1), True)],
    ids=["a minute ago", "long ago", "by a clock that is ahead"],
)
def test_what_another_session_made_a_moment_ago_is_fresh(
    session: Session, tmp_path: Path, made: timedelta, *, fresh: bool
) -> None:
    class Dated(File):
        created_path = "made.at"

    (tmp_path / "a").write_text(json.dumps({"made": {"at": (datetime.now(UTC) - made).isoformat()}}))
    assert Dated(session, tmp_path / "a").recently_written is fresh
    assert not Dated(session, tmp_path / "b").recently_written


def test_a_plan_waits_for_nothing(tmp_path: Path) -> None:
    session = session_of("plan")
    (tmp_path / "a").write_text(json.dumps({**WANTED, "state": "unfinished"}))
    file = File(session, tmp_path / "a")
    (change,) = converge(session, file)
    assert (change.action, file.journal) == (Action.NONE, ["read"])


def test_what_was_written_may_take_a_while_to_show(session: Session, tmp_path: Path) -> None:
    class Replicated(File):
        settling_seconds = SECONDS

        def read(self) -> Facts | None:
            facts = super().read()
            stale = self.journal.count("write") and self.journal[self.journal.index("write") :].count("read") < 3
            return None if stale else facts

    file = Replicated(session, tmp_path / "a")
    assert [change.applied for change in converge(session, file)] == [True]
    assert file.journal == ["read", "write", "read", "read", "read"]


def test_what_stays_different_has_not_converged(session: Session, tmp_path: Path) -> None:
    class Stubborn(File):
        def write(self, facts: Facts | None) -> None:
            del facts
            self.path.write_text('{"colour": "red"}')

    with pytest.raises(NotConverged, match=r"colour: red → blue; size\.height: \(none\) → 2"):
        converge(session, Stubborn(session, tmp_path / "a"))
    assert session.memoize(Results).changes == []


def test_what_is_gone_after_its_write_has_not_converged(session: Session, tmp_path: Path) -> None:
    class Vanishing(File):
        def write(self, facts: Facts | None) -> None:
            del facts

    with pytest.raises(NotConverged, match="it does not exist"):
        converge(session, Vanishing(session, tmp_path / "a"))


@pytest.mark.parametrize(
    ("before", "wanted", "path"),
    [
        ({"size": {"width": 1}}, {"size": {"width": 2}}, "size.width = 1 and cannot be changed to 2"),
        ({"pages": [{"number": 1}]}, {"pages": [{"number": 7}]}, r"pages\[0\].number = 1 and cannot be changed to 7"),
    ],
)
def test_what_no_update_can_change_is_said_before_anything_is_written(
    session: Session, tmp_path: Path, before: Any, wanted: Any, path: str
) -> None:
    (tmp_path / "a").write_text(json.dumps(before))
    file = File(session, tmp_path / "a", wanted)
    with pytest.raises(ImmutableProperty, match=path):
        converge(session, file)
    assert file.journal == ["read"]


def test_nothing_is_immutable_before_it_exists(session: Session, tmp_path: Path) -> None:
    (change,) = converge(session, File(session, tmp_path / "a", {"size": {"width": 2}}))
    assert change.applied


@pytest.mark.parametrize("wanted", [{"key": AFTER_APPLY}, {"keys": [AFTER_APPLY]}, {"a": [{"b": {"c": AFTER_APPLY}}]}])
def test_what_depends_on_the_unknown_is_not_written(session: Session, tmp_path: Path, wanted: Any) -> None:
    file = File(session, tmp_path / "a", wanted)
    with pytest.raises(MissingDependency, match="file a needs a value for"):
        converge(session, file)
    assert file.journal == ["read"]


def test_what_the_service_decides_need_not_be_known(session: Session, tmp_path: Path) -> None:
    class Tagged(File):
        def desired(self) -> Facts:
            return {"etag": self.fact("etag")}

    (change,) = converge(session, Tagged(session, tmp_path / "a"))
    assert change.differences == (Difference("etag", None, AFTER_APPLY),)
    assert change.applied


def test_what_is_within_the_absent_is_not_asked_for_and_not_written(session: Session, tmp_path: Path) -> None:
    folder = File(session, tmp_path / "a")
    file = File(session, tmp_path / "b", parent=folder)
    with pytest.raises(MissingDependency, match="file b needs file a, which does not exist"):
        converge(session, file)
    assert file.journal == []


def test_a_fact_is_found_by_its_path(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps({"size": {"height": 0}}))
    file = File(session, tmp_path / "a")
    assert (file.fact("size.height"), file.require("size.height")) == (0, 0)
    assert file.fact("size.height.unit") is AFTER_APPLY
    assert file.journal == ["read"]
    with pytest.raises(MissingDependency, match=r"a has no size\.width"):
        file.require("size.width")
    with pytest.raises(MissingDependency, match="file b does not exist yet"):
        File(session, tmp_path / "b").require("size")


def test_a_slow_first_answer_does_not_replace_a_later_one(session: Session, tmp_path: Path) -> None:
    asked, answered = threading.Event(), threading.Event()

    class SlowFile(File):
        def read(self) -> Facts | None:
            facts = super().read()
            if threading.current_thread() is reader:
                asked.set()
                assert answered.wait(SECONDS)
            return facts

    file = SlowFile(session, tmp_path / "a")
    reader = threading.Thread(target=lambda: file.facts)
    reader.start()
    assert asked.wait(SECONDS)
    file.write(None)
    file.refresh()
    answered.set()
    reader.join()
    assert file.facts == {"etag": "1", **WANTED}


def test_resources_are_written_after_what_they_need(session: Session, tmp_path: Path) -> None:
    written: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: written.append(name)

    root = File(session, tmp_path / "root", writing=note("root"))
    left = File(session, tmp_path / "left", depends_on=[root], writing=note("left"))
    right = File(session, tmp_path / "right", parent=root, writing=note("right"))
    leaf = File(session, tmp_path / "leaf", depends_on=[left, right], writing=note("leaf"))
    changes = converge(session, leaf, right, left, root)
    assert written[0] == "root"
    assert set(written[1:3]) == {"left", "right"}
    assert written[3:] == ["leaf"]
    assert [change.name for change in changes] == ["leaf", "right", "left", "root"]


def test_those_that_do_not_need_each_other_are_written_side_by_side(session: Session, tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def meet() -> None:
        together.wait(SECONDS)

    files = [File(session, tmp_path / name, writing=meet) for name in "abc"]
    assert len(converge(session, *files)) == 3  # one alone would break the barrier


class Watched:
    """Progress that can be waited for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.has_failed = threading.Event()

    @contextmanager
    def watch(self, resources: Sequence[Resource]) -> Iterator[Watched]:
        self.seen += [("watched", one.name) for one in resources]
        yield self

    def began(self, resource: Resource) -> None:
        self.seen.append(("began", resource.name))

    def ended(self, resource: Resource, change: Change) -> None:
        self.seen.append((change.action.value, resource.name))

    def failed(self, resource: Resource) -> None:
        self.seen.append(("failed", resource.name))
        self.has_failed.set()


def test_after_a_failure_what_runs_may_end_and_nothing_is_begun(session: Session, tmp_path: Path) -> None:
    session.memoize(Results).display = progress = Watched()

    def fail() -> None:
        raise OSError("the disk is full")

    def outlast() -> None:
        assert progress.has_failed.wait(SECONDS)

    failing = File(session, tmp_path / "failing", writing=fail)
    running = File(session, tmp_path / "running", writing=outlast)
    later = File(session, tmp_path / "later", depends_on=[running])
    never = File(session, tmp_path / "never", depends_on=[failing])
    with pytest.raises(Unexpected, match="file failing: OSError: the disk is full") as caught:
        converge(session, failing, running, later, never)
    assert isinstance(caught.value.__cause__, OSError)
    assert [change.name for change in session.memoize(Results).changes] == ["running"]
    assert (later.journal, never.journal) == ([], [])
    ends = [event for event in progress.seen if event[0] != "began"]
    assert ends[-2:] == [("failed", "failing"), ("create", "running")]


def test_the_first_of_two_failures_is_raised(session: Session, tmp_path: Path) -> None:
    session.memoize(Results).display = progress = Watched()

    def first() -> None:
        raise MissingDependency("the first.", "")

    def second() -> None:
        assert progress.has_failed.wait(SECONDS)
        raise MissingDependency("the second.", "")

    with pytest.raises(MissingDependency, match="the first"):
        converge(session, File(session, tmp_path / "b", writing=second), File(session, tmp_path / "a", writing=first))


def test_an_error_of_the_tree_is_not_its_own_cause(session: Session, tmp_path: Path) -> None:
    def fail() -> None:
        raise MissingDependency("It is not there.", "")

    with pytest.raises(AirflowAksError) as caught:
        converge(session, File(session, tmp_path / "a", writing=fail))
    assert caught.value.__cause__ is None


# Against the rehearsal


def test_a_write_bears_the_correlation_id_of_its_answer(rehearsal: Rehearsal, group_name: str) -> None:
    session = open_session("local", "apply")
    group = ResourceGroup(session, group_name)
    (created,) = converge(session, group)
    (kept,) = converge(session, group)
    (write,) = [one for one in rehearsal.requests() if group_name in one["path"] and one["method"] != "GET"]
    assert (write["method"], write["correlation"]) == ("PUT", created.correlation_id)
    assert (kept.action, kept.correlation_id) == (Action.NONE, "")


@pytest.mark.parametrize("mode", ["plan", "check"])
def test_azure_sees_no_write_of_a_plan_or_a_check(rehearsal: Rehearsal, group_name: str, mode: str) -> None:
    session = open_session("local", mode)
    (change,) = converge(session, ResourceGroup(session, group_name))
    assert change.action is Action.CREATE
    assert {one["method"] for one in rehearsal.requests() if group_name in one["path"]} == {"GET"}


# Compare

KEYS = st.text("abc", min_size=1, max_size=2)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)


@settings(deadline=None)
@given(desired=OBJECTS, others=OBJECTS)
def test_what_is_wanted_does_not_differ_once_it_is_merged_into_anything(desired: Any, others: Any) -> None:
    assert compare(desired, merge(others, desired)) == ()


@settings(deadline=None)
@given(desired=OBJECTS, actual=OBJECTS)
def test_a_difference_names_what_is_there_and_what_should_be(desired: Any, actual: Any) -> None:
    for difference in compare({"root": desired}, {"root": actual}):
        if "[" not in difference.path:
            found, wanted = {"root": actual}, {"root": desired}
            *parents, last = difference.path.split(".")
            for key in parents:
                found, wanted = (found or {}).get(key) or {}, wanted[key]
            assert (found.get(last), wanted[last]) == (difference.before, difference.after)


@settings(deadline=None)
@given(desired=st.dictionaries(KEYS, st.dictionaries(KEYS, st.integers(), min_size=1), min_size=1), data=st.data())
def test_one_changed_leaf_is_one_difference(desired: Any, data: st.DataObject) -> None:
    outer = data.draw(st.sampled_from(sorted(desired)))
    inner = data.draw(st.sampled_from(sorted(desired[outer])))
    actual = merge(desired, {outer: {inner: desired[outer][inner] + 1}})
    before, after = actual[outer][inner], desired[outer][inner]
    assert compare(desired, actual) == (Difference(f"{outer}.{inner}", before, after),)


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=3)), data=st.data())
def test_lists_of_texts_are_sets(texts: list[str], data: st.DataObject) -> None:
    assert compare({"zones": texts}, {"zones": data.draw(st.permutations(texts))}) == ()


IDENTITY = "/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"


@pytest.mark.parametrize(
    ("desired", "actual", "paths"),
    [
        ({"location": "westeurope"}, {"location": "West Europe"}, []),
        ({"tags": {"location": "westeurope"}}, {"tags": {"location": "West Europe"}}, ["tags.location"]),
        ({"id": IDENTITY}, {"id": IDENTITY.upper().replace("/SUBSCRIPTIONS", "/subscriptions")}, []),
        ({"ids": {IDENTITY: {}}}, {"ids": {IDENTITY.lower(): {"clientId": "1"}}}, []),
        ({"ids": {IDENTITY: {}}}, {"ids": {}}, [f"ids.{IDENTITY}"]),
        ({"ids": {IDENTITY: {}}}, {}, [f"ids.{IDENTITY}"]),
        ({"sku": {"name": "standard"}}, {"sku": {"name": "Standard"}}, []),
        ({"tags": {"name": "standard"}}, {"tags": {"name": "Standard"}}, ["tags.name"]),
        ({"tags": {}}, {}, []),
        ({"tags": {"Team": "data"}}, {"tags": {"team": "data"}}, []),
        ({"tags": {"Team": "data"}}, {"tags": {"TEAM": "Data"}}, ["tags.Team"]),
        ({"ranges": []}, {}, []),
        ({"ranges": []}, {"ranges": ["10.0.0.0/8"]}, ["ranges"]),
        ({"on": False}, {}, ["on"]),
        ({"on": {"a": 1, "b": 2}}, {}, ["on.a", "on.b"]),
        ({"on": {"a": 1}}, {"on": "text"}, ["on"]),
        ({"pools": [{"a": 1}, {"a": 2}]}, {"pools": [{"a": 1}, {"a": 3, "b": 4}]}, ["pools[1].a"]),
        ({"pools": [{"a": 1}]}, {"pools": []}, ["pools"]),
    ],
)
def test_azure_and_the_runbook_spell_differently(desired: Any, actual: Any, paths: list[str]) -> None:
    assert [difference.path for difference in compare(desired, actual)] == paths
