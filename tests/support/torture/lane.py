"""A lane of the sweep: a rehearsal of its own behind a man in the middle, and the runs of the library against it."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.deployment import DIRECT, describe_environment, is_write
from tests.support.rehearsal import kill_rehearsal, processes_of, run_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY
from tests.support.torture.middle import Disturbance, Middle
from tests.support.torture.phases import NAME, PHASES, Access, Act, Look, Outcome, Phase, run
from tests.support.torture.state import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.torture.kinds import Kind

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "tests.support.torture.warm", "tests.support.torture.lane"])
_HUNG_SECONDS, _ENDING_SECONDS = 240, 60
# Python's image has no packages to install.
_IMAGE = 'registry: {image: build, source: "docker.io/library/python:3.13"}\n'
_RIDDLES = re.compile(
    r"Traceback|unexpected|<html|object at 0x|IncompleteRead|\bConnection\w*Error|RemoteDisconnected|ConnectionPool",
    re.IGNORECASE,
)
_WRITES = ("PUT", "PATCH", "DELETE")
_COLLECTIONS = ("/pods", "/jobs", "/groups", "/$ref", "/appRoleAssignedTo", "/register", "/listBuildSourceUploadUrl")
"""What a POST to makes something else each time; twins show in the state."""


class Fell(Exception):
    """What a case broke."""


@dataclass
class Recording:
    """What undisturbed runs of the phases ask, each kind of request with the phase that sends it first, and leave."""

    kinds: list[tuple[Phase, Kind]] = field(default_factory=list)
    states: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Lane:
    """A rehearsal in which one phase after another is disturbed, again and again."""

    def __init__(self, phases: Sequence[Phase] = PHASES, recording: Recording | None = None) -> None:
        self.phases = phases
        self._recorded = recording
        self._opened = ExitStack()
        self._done = -1
        self._runs = 0
        self._process: Any = None

    def __enter__(self) -> Self:
        self._folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="airflowaks-torture-")))
        self.home = self._folder / "home"
        self._rehearsal = start_rehearsal(self.home, "--time-scale", "0")
        self._opened.callback(run_rehearsal, self.home, "reset")
        connection = self._rehearsal.connection
        self._middle = self._opened.enter_context(Middle(self.home, connection["HTTPS_PROXY"]))
        for access, more in (("direct", DIRECT), ("tunnel", "")):
            self._describe(self._folder / access, more)
        beside = connection["HTTPS_PROXY"], connection["REQUESTS_CA_BUNDLE"]
        self._beside = Access(self._folder / "direct", *beside, connection)
        self._through = replace(self._beside, proxy=self._middle.proxy, ca_file=str(self._middle.ca_file))
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _describe(self, folder: Path, more: str) -> None:
        describe_environment(folder, NAME, more + _IMAGE)
        for manifests in (REPOSITORY / "manifests").iterdir():
            if manifests.is_dir() and manifests.name not in ("environments", "image"):
                shutil.copytree(manifests, folder / "manifests" / manifests.name)
        (folder / "manifests/image").mkdir()
        (folder / "manifests/image/Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")

    def record(self) -> Recording:
        """Run all phases once, undisturbed."""
        self._recorded = recording = Recording(states={-1: self._look()})
        for index, phase in enumerate(self.phases):
            self._middle.watch()
            self._act(phase)
            self._done = index
            recording.states[index] = self._look()
            already = {kind for _, kind in recording.kinds if not phase.rewrites or kind.method not in _WRITES}
            recording.kinds += [(phase, kind) for kind in dict.fromkeys(self._middle.seen) if kind not in already]
        return recording

    def disturb(self, phase: Phase, kind: Kind, fault: str) -> str:
        """Disturb the first request of a kind in a phase, and run the phase again.

        Returns how the disturbed run ended. Raises Fell.
        """
        index = self.phases.index(phase)
        self._stand_before(index)
        try:
            begun = len(self._rehearsal.requests())
            disturbed = self._disturbed(phase, Disturbance(kind, fault))
            ended = len(self._rehearsal.requests())
            self._judge(disturbed)
            self._act(phase, healing=True)
            entries = self._rehearsal.requests()
        finally:
            self._middle.watch()
            left = self._undo(index)
        self._compare(left, self._states[index], killed="killed" in fault)
        twice = _written(entries[begun:ended]) & _written(entries[ended:])
        if phase.makes and twice:
            raise Fell(f"The next run wrote again: {', '.join(sorted(twice))}.")
        return disturbed.error.partition("\n")[0] or "ended well" if disturbed else "killed"

    def leftovers(self) -> list[str]:
        """Return the processes of the rehearsal beside its daemon, and faults of its own in its log."""
        self._stand_before(0)
        _, fault, rest = (self.home / "rehearsal.log").read_text().partition("Traceback")
        return [*processes_of(self.home)[1:], *([rest] if fault else [])]

    # Where the lane stands

    @property
    def _states(self) -> dict[int, tuple[str, ...]]:
        assert self._recorded
        return self._recorded.states

    def _stand_before(self, index: int) -> None:
        if self._done >= index:
            self._look(self._states[-1])
            self._done = -1
        for earlier in range(self._done + 1, index):
            if self.phases[earlier].makes:
                self._act(self.phases[earlier])
        self._done = index - 1

    def _undo(self, index: int) -> tuple[str, ...]:
        """Go back before a phase that made something; return the state that it left."""
        phase = self.phases[index]
        left = self._look(self._states[index - 1 if phase.makes else index])
        self._done = index - 1
        if set(self._states[index - 1]) - set(self._states[index]):  # a teardown
            self._done = -1
            self._stand_before(index)
        return left

    # Runs

    def _act(self, phase: Phase, *, healing: bool = False) -> None:
        """Run a phase that nothing disturbs. Raises Fell where it does not end well."""
        outcome = self._run(self._access(phase), Act(phase.name, healing=healing))
        if outcome is None or outcome.error:
            raise Fell(f"{phase} without a fault: {outcome.error if outcome else 'it was killed'}")

    def _look(self, keep: tuple[str, ...] | None = None) -> tuple[str, ...]:
        outcome = self._run(self._beside, Look(keep))
        if outcome is None or outcome.error:
            raise Fell(f"The state: {outcome.error if outcome else 'it cannot be read'}")
        return outcome.state

    def _disturbed(self, phase: Phase, disturbance: Disturbance) -> Outcome | None:
        daemon = disturbance.kind.startswith("daemon")
        self._middle.watch(disturbance, lambda: kill_rehearsal(self.home) if daemon else self._process.kill())
        try:
            outcome = self._run(self._access(phase), Act(phase.name))
        finally:
            struck = self._middle.struck
            if daemon:
                start_rehearsal(self.home)
                self._middle.watch()  # it listens again
        if not struck:
            raise Fell(f"{phase} did not send {disturbance.request}.")
        return outcome

    def _access(self, phase: Phase) -> Access:
        return replace(self._through, folder=self._folder / "tunnel") if phase.tunnelled else self._through

    def _run(self, access: Access, work: Any) -> Outcome | None:
        """Run in a process of its own; None for a killed one. Raises Fell for what no run may do."""
        self._runs += 1
        temporary = self._folder / f"run-{self._runs}"
        temporary.mkdir()
        receiver, sender = _FORKS.Pipe(duplex=False)
        self._process = process = _FORKS.Process(target=run, args=(access, work, temporary, sender))
        process.start()
        sender.close()
        outcome: Outcome | None = None
        with receiver, suppress(EOFError):  # it was killed
            hung = not receiver.poll(_HUNG_SECONDS)
            outcome = None if hung else receiver.recv()
        process.join(0 if hung else _ENDING_SECONDS)
        if process.is_alive():
            hung = True
            process.kill()
            process.join()
        stderr = (temporary / "stderr").read_text()
        shutil.rmtree(temporary)
        if hung:
            raise Fell("It hung.")
        if stderr:
            raise Fell(f"It wrote to stderr: {stderr}")
        return outcome

    # Judgement

    def _judge(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        if outcome.left:
            raise Fell(f"It left temporary files: {', '.join(outcome.left)}.")
        if outcome.error and (outcome.error.startswith("Unexpected") or _RIDDLES.search(outcome.error)):
            raise Fell(f"The error is no clear one: {outcome.error}")
        if outcome.error and not (len(outcome.error.splitlines()) == 3 and all(outcome.error.splitlines())):
            raise Fell(f"The error is not of two lines: {outcome.error}")

    @staticmethod
    def _compare(left: tuple[str, ...], recorded: tuple[str, ...], *, killed: bool) -> None:
        now, expected = Counter(left), Counter(recorded)
        more = [label for label in (now - expected).elements() if not (killed and label.endswith(TEMPORARY))]
        less = [*(expected - now).elements()]
        if more or less:
            raise Fell(f"After the next run there is more: {more}, and less: {less}.")


def _written(entries: list[dict[str, Any]]) -> set[str]:
    return {
        f"{entry['method']} {entry['host']}{entry['path']}"
        for entry in entries
        if is_write(entry) and entry["status"] < 300 and not entry["path"].endswith(_COLLECTIONS)
    }
