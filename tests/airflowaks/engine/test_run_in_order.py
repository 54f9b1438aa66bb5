"""What depends on each other runs in order, the rest side by side; a failure or an interrupt begins nothing more."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from airflowaks.azure.subscription import NAMESPACES
from airflowaks.engine.graph import run_in_order

SECONDS = 60
MANY = 20


def test_each_node_runs_after_those_that_it_depends_on() -> None:
    graph = {"d": ("b", "c"), "b": ("a",), "c": ("a",), "a": ()}
    results = {node: future.result() for node, future in run_in_order(graph, str.upper)}
    first, *_, last = results
    assert (first, last) == ("a", "d")
    assert results == {"a": "A", "b": "B", "c": "C", "d": "D"}


def test_nodes_that_do_not_depend_on_each_other_run_side_by_side() -> None:
    """All resource providers, as the most that do not: with one worker less, a deployment waited two minutes longer."""
    count = len(NAMESPACES)
    all_of_them = threading.Barrier(count)
    ends = dict(run_in_order(dict.fromkeys(NAMESPACES, ()), lambda _: all_of_them.wait(SECONDS)))
    assert {future.result() for future in ends.values()} == {*range(count)}


def test_after_a_failure_not_even_what_is_ready_begins() -> None:
    begun = []
    failed = threading.Event()

    def work(node: int) -> None:
        begun.append(node)
        if node == 0:
            failed.set()
            raise OSError("the disk is full")
        assert failed.wait(SECONDS)
        threading.Event().wait(0.2)

    with pytest.raises(OSError, match="the disk is full"):
        for _ in run_in_order(dict.fromkeys(range(MANY), ()), work):
            pass
    assert len(begun) < MANY


def test_a_caller_that_stops_iterating_ends_what_runs() -> None:
    stop = threading.Event()
    ends = run_in_order({"a": (), "b": ()}, lambda node: node == "a" or stop.wait(SECONDS), on_interrupt=stop.set)
    node, _ = next(ends)
    ends.close()
    assert (node, stop.is_set()) == ("a", True)


@pytest.mark.usefixtures("heeded_interrupts")
def test_after_an_interrupt_what_runs_is_still_reported_and_nothing_begins() -> None:
    stop, both = threading.Event(), threading.Barrier(2)
    seen: set[str] = set()

    def work(node: str) -> None:
        both.wait(SECONDS)
        threading.Event().wait(0.2)  # until both are waited for
        if node == "a":
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(SECONDS)

    def run() -> None:
        for node, _ in run_in_order({"a": (), "b": (), "c": ("a", "b")}, work, on_interrupt=stop.set):
            seen.add(node)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert seen == {"a", "b"}
