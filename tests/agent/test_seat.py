"""One runner as the agent sees it, over a real socket pair: what it says is heard, whatever one message comes to."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

import pytest
from kit import Clock, job
from test_python_executor import TestPlace, Told

from headrace.agent.executors.seat import Held, Seat
from headrace.link.records import Assignment, InputFile
from headrace.link.sharing import SHARED_MIN
from headrace.model.changes import OutcomeKind
from headrace.model.errors import Invalid, NotFound
from headrace.runner.memory import make_memory
from headrace.runner.protocol import TO_RUNNER, Done, Frames, Ok, frame


class Owner:
    """An executor that only listens."""

    def __init__(self) -> None:
        self.ended: list[int] = []

    def changed(self) -> None: ...

    def over(self, held: Held) -> None:
        self.ended.append(held.id)

    def silent(self, held: Held) -> None: ...

    def doomed(self, seat: Seat) -> None: ...


class Bench:
    """A seat, and the runner's end of its socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.owner = Owner()
        ours, self.runner = socket.socketpair()
        self.seat = Seat(1, "", ours, make_memory(), scratch=str(folder / "scratch"), owner=self.owner, clock=Clock())

    def held(self, number: int, a: Assignment | None = None, place: Any = None) -> tuple[Held, Told]:
        told = Told()
        place = place or TestPlace(self.folder / f"place-{number}")
        a = a or job(number, kind="python")
        return Held(number, a, told, place, a.name), told

    def close(self) -> None:
        self.seat.close()
        self.runner.close()


def test_a_result_that_cannot_be_read_fails_its_call_and_what_is_told_behind_it_is_heard(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        (one, first), (two, second) = bench.held(1), bench.held(2)
        bench.seat.give([one, two])
        gone = Done(1, 5, 9, "succeeded", None, str(tmp_path / "gone"))
        bench.runner.send(frame([gone, Ok(2, 9, 12, b"7")]))
        async with asyncio.timeout(20):
            end = await second.end
        assert (end.kind, end.result) == (OutcomeKind.succeeded, b"7")
        end = await first.end
        assert (end.kind, end.started_at, end.ended_at) == (OutcomeKind.failed, 5, 9)
        assert end.reason == "its result could not be read: No such file or directory"
        assert bench.owner.ended == [1, 2]
        bench.close()

    asyncio.run(main())


class Bare:
    """A place that cannot be made."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def make(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotFound("this agent has no such bytes"), OutcomeKind.refused),
        (OSError(errno.ENOSPC, "No space left on device"), OutcomeKind.refused),
        (OSError(errno.ENOTDIR, "Not a directory"), OutcomeKind.failed),
        (Invalid("not a path of an input file"), OutcomeKind.failed),
    ],
)
def test_a_call_whose_input_is_gone_is_refused_at_no_cost(tmp_path: Path, error: Exception, kind: OutcomeKind) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        a = job(1, kind="python", inputs=(InputFile("a", "0" * 64, 1),))
        (one, first), (two, second) = bench.held(1, a, Bare(error)), bench.held(2)
        bench.seat.give([one, two])
        end = await first.end
        assert (end.kind, end.started_at, end.ended_at > 1_000_000) == (kind, 0, True)
        assert str(error) in (end.reason or "")
        assert (bench.owner.ended, list(bench.seat.calls), second.end.done()) == ([1], [2], False)
        bench.close()

    asyncio.run(main())


def test_large_parameters_are_sent_to_a_runner_once_as_long_as_they_are_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        large, other = b"[" + b"1" * SHARED_MIN + b"]", b"[" + b"2" * SHARED_MIN + b"]"
        bare = job(1, kind="python", params=other, inputs=(InputFile("a", "0" * 64, 1),))
        given = [b"{}", large, large, other, large, b"{}", b"{}"]
        all_ = [bench.held(2 + at, job(2 + at, kind="python", params=p))[0] for at, p in enumerate(given)]
        # What has no folder is not sent, and so are its parameters not.
        all_.insert(3, bench.held(1, bare, Bare(NotFound("gone")))[0])
        bench.seat.give(all_[:3])
        bench.seat.give(all_[3:])
        works = list(Frames(TO_RUNNER).feed(bench.runner.recv(1 << 20)))
        assert [call.params for work in works for call in work.calls] == [b"{}", large, b"", other, large, b"{}", b"{}"]
        bench.close()

    asyncio.run(main())
