"""The feed's reader is told at once while nothing is queued, and in handfuls while something is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kit import run

from headrace.agent.blobs import FileBlobs
from headrace.agent.executors.template import TemplateClient
from headrace.agent.feed import GATHER_MAX, Outbox
from headrace.agent.places import FilePlace, FilePlaces

ONE = b"\xc0"
"""An outcome for all that the feed knows of it."""


class Feeding:
    """An outbox with so much work queued behind it."""

    def __init__(self, queued: int) -> None:
        self.queued = queued
        self.rung = 0
        self.outbox = Outbox("b", acknowledged=lambda _: None, bell=self._ring, queued=lambda: self.queued)

    def _ring(self) -> None:
        self.rung += 1

    async def reader(self, after: int = 0) -> asyncio.Task[int]:
        """A reader that waits by now; gives how many outcomes it was told."""

        async def read() -> int:
            return len((await self.outbox.read(after, 20_000)).outcomes)

        task = asyncio.ensure_future(read())
        await turns()
        return task


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_an_outcome_is_told_at_once_while_nothing_is_queued() -> None:
    async def main() -> None:
        feeding = Feeding(0)
        reader = await feeding.reader()
        feeding.outbox.add([ONE])
        await turns()
        assert reader.done()
        assert await reader == 1

    run(main())


def test_outcomes_wait_until_as_many_are_over_as_are_queued() -> None:
    async def main() -> None:
        feeding = Feeding(3)
        reader = await feeding.reader()
        feeding.outbox.add([ONE])
        feeding.outbox.add([ONE])
        await turns()
        assert not reader.done()
        feeding.outbox.add([ONE])
        assert await reader == 3

    run(main())


def test_outcomes_wait_no_longer_when_the_queue_runs_dry() -> None:
    async def main() -> None:
        feeding = Feeding(2)
        reader = await feeding.reader()
        feeding.outbox.add([ONE])
        await turns()
        assert not reader.done()
        feeding.queued = 0
        feeding.outbox.unqueued()
        await turns()
        assert reader.done()

    run(main())


def test_a_long_queue_delays_outcomes_by_moments_only() -> None:
    async def main() -> None:
        feeding = Feeding(10_000)
        reader = await feeding.reader()
        feeding.outbox.add([ONE])
        assert await reader == 1
        feeding.outbox.add([ONE])
        assert await (await feeding.reader(after=1)) == 1
        reader = await feeding.reader(after=2)
        feeding.outbox.add([ONE] * GATHER_MAX)
        await turns()
        assert reader.done()

    run(main())


def test_when_the_reader_has_gone_what_was_gathered_for_it_rings() -> None:
    async def main() -> None:
        feeding = Feeding(10)
        reader = await feeding.reader()
        feeding.outbox.add([ONE])
        reader.cancel()
        while not feeding.rung:
            await asyncio.sleep(0)
        feeding.outbox.close()

    run(main())


def test_the_template_is_owned_while_it_lives(tmp_path: Path) -> None:
    async def main() -> None:
        owned: set[int] = set()
        template = TemplateClient({}, on_forked=lambda *_: None, on_gone=lambda *_: None, owned=owned)
        template.start()
        assert owned == {template.pid}
        template.close()
        assert owned == set()

    run(main())


def test_a_folder_that_was_left_as_it_was_is_used_again_and_one_that_was_not_is_emptied(tmp_path: Path) -> None:
    places = FilePlaces(str(tmp_path / "attempts"), FileBlobs(str(tmp_path / "blobs")))
    place = FilePlace(places, ())
    place.make()
    root = place.root
    places.clear(place)
    assert Path(root).is_dir()
    (Path(root) / "files" / "result").write_text("1")
    folder = places._free[-1]
    assert folder.reset()
    assert list((Path(root) / "files").iterdir()) == []
    (Path(root) / "work" / "left").write_text("1")
    assert not folder.reset()
