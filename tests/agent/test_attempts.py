"""What the agent does with attempts, calls lost, doubled, reordered and stale; on a disk that outlives it."""

from __future__ import annotations

import asyncio

import pytest
from kit import Life, MemoryDisk, job, run

from headrace.link.records import Artifact, Assignment, AttemptName, InputFile, Outcome, Start, StopOrder, Welcome
from headrace.model.changes import OutcomeKind
from headrace.model.errors import LinkError, Refused


def name(a: Assignment) -> AttemptName:
    return a.name


async def outcomes(life: Life, after: int = 0) -> list[Outcome]:
    await asyncio.sleep(0)
    return (await life.calls.outcomes(after, 0, 1)).outcomes


def stop(*jobs: Assignment, grace_ms: int = 10_000, **more: object) -> StopOrder:
    return StopOrder(1, [(a.name, grace_ms) for a in jobs], **more)  # type: ignore[arg-type]


def test_what_is_accepted_runs_in_order_as_slots_get_free_and_is_told_once_numbered() -> None:
    async def main() -> None:
        life = Life(slots=2)
        assert (await life.calls.start(Start(1, [job(n) for n in range(1, 5)]))).refused == []
        assert life.hands.begun == [1, 2]
        life.hands.end(2)
        await asyncio.sleep(0)
        assert life.hands.begun == [1, 2, 3]
        life.hands.end(1)
        life.hands.end(3)
        told = await outcomes(life)
        assert [(o.m, o.run, o.kind) for o in told] == [
            (n + 1, r, OutcomeKind.succeeded) for n, r in enumerate((2, 1, 3))
        ]
        assert [o.m for o in await outcomes(life, 2)] == [3]
        assert [o.m for o in await outcomes(life, 3)] == []

    run(main())


def test_a_doubled_batch_is_one_batch_at_every_stage() -> None:
    async def main() -> None:
        life = Life(slots=1)
        batch = Start(1, [job(1), job(2)])
        for _ in range(3):
            assert (await life.calls.start(batch)).refused == []
        life.hands.end(1)
        await asyncio.sleep(0)
        life.hands.end(2)
        await asyncio.sleep(0)
        assert (await life.calls.start(batch)).refused == [], "over, but not acknowledged: still the agent's"
        assert life.hands.begun == [1, 2]
        await outcomes(life, 2)
        late = (await life.calls.start(batch)).refused
        assert [n.run for n, _ in late] == [1, 2], "acknowledged: a late copy does not run again"
        assert life.hands.begun == [1, 2]

    run(main())


def test_a_lower_epoch_of_a_task_is_refused_and_a_higher_one_ends_the_older() -> None:
    async def main() -> None:
        life = Life()
        await life.calls.start(Start(1, [job(1, epoch=5)]))
        assert "stale" in (await life.calls.start(Start(1, [job(1, epoch=4)]))).refused[0][1]
        assert (await life.calls.start(Start(1, [job(1, epoch=6)]))).refused == []
        assert life.hands.killed == [1]
        assert life.hands.begun == [1, 1]
        life.hands.end(1)
        assert [(o.epoch) for o in await outcomes(life)] == [6], "the older one is fenced: it says nothing"
        assert "stale" in (await life.calls.start(Start(1, [job(1, epoch=5)]))).refused[0][1]

    run(main())


def test_calls_under_an_older_link_epoch_are_refused_and_change_nothing() -> None:
    async def main() -> None:
        life = Life()
        life.link.dialed(0)
        life.link.heard(Welcome(1, 3), 0.0)
        for call in (
            life.calls.start(Start(2, [job(1)])),
            life.calls.stop(StopOrder(2, [(job(1).name, 0)])),
            life.calls.outcomes(0, 0, 2),
        ):
            with pytest.raises(Refused):
                await call
        assert life.hands.begun == []
        await life.calls.start(Start(3, [job(1)]))
        assert life.hands.begun == [1]

    run(main())


def test_a_new_life_believes_no_call_before_its_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        disk = MemoryDisk()
        life = Life(disk)
        await life.calls.start(Start(1, [job(1)]))
        again = Life(disk, boot="b2", greeted=False)
        stale = asyncio.ensure_future(again.calls.outcomes(500, 0, 1))
        await asyncio.sleep(0.01)  # absence: only time shows it
        assert not stale.done()
        again.link.dialed(0)
        again.link.heard(Welcome(1, 2), 0.0)
        with pytest.raises(Refused):
            await stale
        told = (await again.calls.outcomes(0, 0, 2)).outcomes
        assert [o.run for o in told] == [1], "the late call has acknowledged nothing"
        monkeypatch.setattr("headrace.agent.calls.WELCOME_S", 0.0)
        with pytest.raises(Refused):
            await Life(disk, boot="b3", greeted=False).calls.start(Start(9, [job(2)]))

    run(main())


def test_the_ladder_asks_then_kills_and_a_repeated_stop_does_not_lengthen_it() -> None:
    async def main() -> None:
        life = Life()
        await life.calls.start(Start(1, [job(1)]))
        for grace_ms in (50, 60_000, 60_000):
            await life.calls.stop(stop(job(1), grace_ms=grace_ms, reason="enough"))
        told = (await life.calls.outcomes(0, 10_000, 1)).outcomes or (await life.calls.outcomes(0, 10_000, 1)).outcomes
        assert life.hands.killed == [1]
        assert life.hands.asked == [(1, "enough")]
        assert [(o.kind, o.reason, o.signal) for o in told] == [(OutcomeKind.canceled, "enough", 9)]

    run(main())


def test_what_obeys_is_not_killed() -> None:
    async def main() -> None:
        life = Life()
        life.hands.obedient = True
        await life.calls.start(Start(1, [job(1)]))
        await life.calls.stop(stop(job(1)))
        assert [o.kind for o in await outcomes(life)] == [OutcomeKind.canceled]
        assert life.hands.killed == []

    run(main())


def test_a_timeout_counts_from_the_start_and_ends_as_timeout() -> None:
    async def main() -> None:
        life = Life(slots=1)
        await life.calls.start(Start(1, [job(1), job(2, timeout_ms=20, grace_ms=20)]))
        await asyncio.sleep(0.1)  # absence: only time shows it
        assert life.hands.asked == [], "the second has not begun: its time does not run"
        life.hands.end(1)
        await outcomes(life)
        feed = await life.calls.outcomes(1, 5_000, 1)
        assert [(o.run, o.kind) for o in feed.outcomes] == [(2, OutcomeKind.timeout)]
        assert life.hands.asked[0][0] == 2
        assert life.hands.killed == [2]

    run(main())


def test_what_never_began_is_canceled_without_running_and_taken_back_as_refused() -> None:
    async def main() -> None:
        life = Life(slots=1)
        await life.calls.start(Start(1, [job(1), job(2), job(3)]))
        await life.calls.stop(stop(job(2), reason="no"))
        await life.calls.stop(stop(job(1), job(3), take_back=True))
        told = await outcomes(life)
        assert [(o.run, o.kind) for o in told] == [(2, OutcomeKind.canceled), (3, OutcomeKind.refused)]
        life.hands.end(1)
        assert [o.run for o in await outcomes(life, 2)] == [1], "what runs is not taken back"
        assert life.hands.begun == [1]

    run(main())


def test_an_agent_that_ends_begins_nothing_more_and_gives_back_what_never_began() -> None:
    async def main() -> None:
        life = Life(slots=1)
        await life.calls.start(Start(1, [job(1), job(2)]))
        life.attempts.end()
        assert (await life.calls.start(Start(1, [job(3)]))).refused[0][1] == "draining"
        life.hands.end(1)
        told = await outcomes(life)
        assert [(o.run, o.kind) for o in told] == [(2, OutcomeKind.refused), (1, OutcomeKind.succeeded)]
        assert life.hands.begun == [1]

    run(main())


def test_a_stop_that_overtakes_its_start_still_stops_it() -> None:
    async def main() -> None:
        life = Life()
        await life.calls.stop(stop(job(1), reason="canceled"))
        assert (await life.calls.start(Start(1, [job(1), job(2)]))).refused == []
        assert life.hands.begun == [2]
        assert [(o.run, o.kind) for o in await outcomes(life)] == [(1, OutcomeKind.canceled)]

    run(main())


def test_a_fence_kills_at_once_and_reports_nothing() -> None:
    async def main() -> None:
        life = Life(slots=1)
        await life.calls.start(Start(1, [job(1), job(2)]))
        await life.calls.stop(stop(job(1), job(2), fence=True))
        assert life.hands.killed == [1]
        assert await outcomes(life) == []
        assert (await life.calls.held()).attempts == []
        again = Life(life.disk, boot="b2")
        assert await outcomes(again) == [], "nor does the next life report it lost"

    run(main())


def test_the_next_life_offers_what_was_finished_and_reports_the_rest_lost() -> None:
    async def main() -> None:
        disk = MemoryDisk()
        life = Life(disk, slots=2)
        await life.calls.start(Start(1, [job(n) for n in range(1, 5)]))
        life.hands.end(1, result=b"1")
        life.hands.end(2, result=b"2")
        await outcomes(life, 0)
        await outcomes(life, 1)
        again = Life(disk, boot="b2")
        told = await outcomes(again)
        assert [(o.m, o.run, o.kind, o.result) for o in told] == [
            (1, 2, OutcomeKind.succeeded, b"2"),
            (2, 3, OutcomeKind.lost, None),
            (3, 4, OutcomeKind.lost, None),
        ]
        assert again.hands.begun == []
        late = await again.calls.start(Start(1, [job(3)]))
        assert late.refused == []
        assert again.hands.begun == [], "a late copy of a lost attempt does not run"
        third = Life(disk, boot="b3")
        assert len(await outcomes(third)) == 3, "not acknowledged: offered again"
        await outcomes(third, 3)
        assert await outcomes(Life(disk, boot="b4")) == []

    run(main())


def test_an_attempt_that_cannot_be_journaled_is_refused() -> None:
    async def main() -> None:
        life = Life()
        life.disk.full = True
        answer = await life.calls.start(Start(1, [job(1)]))
        assert "journal" in answer.refused[0][1]
        assert life.hands.begun == []
        life.disk.full = False
        assert (await life.calls.start(Start(1, [job(1)]))).refused == []
        life.disk.full = True
        life.hands.end(1)
        assert [o.run for o in await outcomes(life)] == [1], "an outcome is told even when it cannot be written"

    run(main())


def test_inputs_are_needed_from_the_acceptance_of_an_attempt_to_its_end_whatever_that_is() -> None:
    async def main() -> None:
        life = Life(slots=1)
        held = [job(n, inputs=(InputFile("a", f"d{n}", 1),)) for n in range(1, 5)]
        life.disk.full = True
        await life.calls.start(Start(1, held))
        assert life.blobs.needed == []
        life.disk.full = False
        for _ in range(2):
            await life.calls.start(Start(1, held))
        assert life.blobs.needed == ["d1", "d2", "d3", "d4"]
        await life.calls.stop(stop(held[1], take_back=True))
        await life.calls.stop(stop(held[2], fence=True))
        life.hands.end(1)
        assert life.blobs.needed == ["d4"]
        both = [job(4, epoch=2, inputs=held[3].inputs), job(4, epoch=3, inputs=held[3].inputs)]
        await life.calls.start(Start(1, both))
        assert life.blobs.needed == ["d4"]
        await asyncio.sleep(0)
        life.hands.end(4)
        assert life.blobs.needed == []

    run(main())


def test_the_files_of_a_fenced_attempt_are_let_go_because_no_outcome_names_them() -> None:
    async def main() -> None:
        life = Life()
        await life.calls.start(Start(1, [job(1)]))
        life.hands.kill = lambda name: None  # type: ignore[method-assign] # it takes a while to die
        await life.calls.stop(stop(job(1), fence=True))
        life.blobs.kept["d1"] = b"1"
        life.hands.end(1, OutcomeKind.failed, artifacts=(Artifact("a", "d1", 1),))
        assert (await outcomes(life), life.blobs.kept) == ([], {})

    run(main())


def test_an_attempt_whose_large_result_cannot_be_kept_is_told_as_failed_and_frees_its_slot() -> None:
    async def main() -> None:
        life = Life(slots=1)
        await life.calls.start(Start(1, [job(1), job(2), job(3)]))
        put = life.blobs.put

        def full(data: bytes) -> str:
            raise OSError(28, "No space left on device")

        life.blobs.put = full  # type: ignore[method-assign] # the disk is full for a while
        life.hands.end(1, result=b"1" * 300_000, exit_status="ok")
        await asyncio.sleep(0)
        life.hands.end(2, OutcomeKind.failed, result=b"1" * 300_000, reason="its own reason")
        await asyncio.sleep(0)
        life.blobs.put = put  # type: ignore[method-assign]
        life.hands.end(3, result=b"1" * 300_000)
        one, two, three = await outcomes(life)
        assert (one.kind, one.exit_status, one.result_digest) == (OutcomeKind.failed, "error", "")
        assert one.reason == "its result could not be kept: No space left on device"
        assert (two.kind, two.reason) == (OutcomeKind.failed, "its own reason")
        assert (three.kind, three.result_size) == (OutcomeKind.succeeded, 300_000)
        assert (life.attempts.running, [o.m for o in (one, two, three)]) == (0, [1, 2, 3])

    run(main())


def test_a_start_is_told_only_for_what_still_runs_when_the_feed_is_read() -> None:
    async def main() -> None:
        life = Life()
        await life.calls.start(Start(1, [job(1), job(2)]))
        life.hands.end(2)
        first = await life.calls.outcomes(0, 0, 1)
        assert first.started == [], "too young to be worth a word"
        feed = await life.calls.outcomes(first.last, 5_000, 1)
        if not feed.started:
            feed = await life.calls.outcomes(feed.last, 5_000, 1)
        assert [n.run for n in feed.started] == [1]
        assert (await life.calls.outcomes(feed.last, 0, 1)).started == []
        life.attempts.renote()
        again = await life.calls.outcomes(feed.last, 5_000, 1)
        assert [n.run for n in again.started] == [1], "a new link hears of it again"

    run(main())


def test_a_feed_is_bounded_in_bytes_and_the_rest_follows() -> None:
    async def main() -> None:
        life = Life(slots=100)
        await life.calls.start(Start(1, [job(n) for n in range(1, 41)]))
        for n in range(1, 41):
            life.hands.end(n, result=b'"' + b"x" * 250_000 + b'"')
        seen: list[int] = []
        while len(seen) < 40:
            page = await outcomes(life, seen[-1] if seen else 0)
            assert 0 < sum(len(o.result or b"") for o in page) <= 4 * 1024 * 1024
            seen += [o.m for o in page]
        assert seen == list(range(1, 41))

    run(main())


def test_a_large_result_goes_aside_until_its_outcome_is_acknowledged() -> None:
    async def main() -> None:
        life = Life()
        await life.calls.start(Start(1, [job(1)]))
        big = b'"' + b"x" * 300_000 + b'"'
        life.hands.end(1, result=big)
        (told,) = await outcomes(life)
        assert told.result is None
        assert told.result_size == len(big)
        assert b"".join([p async for p in life.calls.fetch(told.result_digest)]) == big
        await outcomes(life, 1)
        assert life.blobs.kept == {}

    run(main())


def test_the_bell_rings_once_when_nobody_listens_and_never_when_somebody_does() -> None:
    async def main() -> None:
        life = Life(slots=10)
        await life.calls.start(Start(1, [job(n) for n in range(1, 6)]))
        life.hands.end(1)
        await asyncio.sleep(0)
        life.hands.end(2)
        await asyncio.sleep(0)
        assert life.rings == 1
        await outcomes(life)
        listening = asyncio.ensure_future(life.calls.outcomes(2, 10_000, 1))
        await asyncio.sleep(0)
        life.hands.end(3)
        assert [o.run for o in (await listening).outcomes] == [3]
        assert life.rings == 1

    run(main())


def test_a_later_reader_ends_the_waiting_of_an_earlier_one() -> None:
    async def main() -> None:
        life = Life()
        first = asyncio.ensure_future(life.calls.outcomes(0, 30_000, 1))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(life.calls.outcomes(0, 30_000, 1))
        assert (await first).outcomes == []
        await life.calls.start(Start(1, [job(1)]))
        life.hands.end(1)
        assert [o.run for o in (await second).outcomes] == [1]

    run(main())


def test_only_prefetched_work_goes_deeper_than_the_slots() -> None:
    async def main() -> None:
        life = Life(slots=1)
        await life.calls.start(Start(1, [job(n, kind="python", prefetch=True) for n in range(1, 9)]))
        assert life.hands.begun == [1, 2, 3, 4]
        other = Life(slots=1)
        await other.calls.start(Start(1, [job(n, kind="python") for n in range(1, 9)]))
        assert other.hands.begun == [1]

    run(main())


def test_a_draining_agent_and_an_unknown_kind_refuse_with_the_reason() -> None:
    async def main() -> None:
        life = Life()
        assert "kind" in (await life.calls.start(Start(1, [job(1, kind="container")]))).refused[0][1]
        life.attempts.draining = True
        assert (await life.calls.start(Start(1, [job(2)]))).refused[0][1] == "draining"
        assert (await life.calls.held()).attempts == []

    run(main())


POINTS = (
    "agent.before_journal_accept",
    "agent.after_journal_accept",
    "agent.before_start",
    "agent.before_journal_outcome",
    "agent.after_journal_outcome",
    "agent.before_journal_acknowledged",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_any_point_leaves_every_accepted_attempt_told_exactly_by_name(point: str) -> None:
    class Died(BaseException):
        pass

    async def main() -> None:
        def fault(at: str) -> None:
            if at == point:
                raise Died

        disk = MemoryDisk()
        life = Life(disk, fault=fault)
        accepted = False
        try:
            await life.calls.start(Start(1, [job(1)]))
            accepted = True
            life.hands.end(1)
            life.attempts._flush()
            await life.calls.outcomes(1, 0, 1)
        except Died:
            pass
        else:
            raise AssertionError(f"{point} was never passed")
        told = await outcomes(Life(disk, boot="b2"))
        assert len(told) <= 1
        if accepted:
            assert [o.run for o in told] == [1], "accepted, so the next life must speak of it"
        if point == "agent.before_journal_accept":
            assert told == []

    run(main())


def test_an_agent_without_control_keeps_dialing_and_greets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    from kit import Clock

    from headrace.agent import bell as bell_file
    from headrace.agent.bell import BellKeeper
    from headrace.link.records import Hello, Pulse, PulseAnswer

    monkeypatch.setattr(bell_file, "BACKOFF_FIRST_S", 0.001)

    class Bell:
        def __init__(self) -> None:
            self.sent: asyncio.Queue[object] = asyncio.Queue()
            self.coming: asyncio.Queue[object] = asyncio.Queue()

        async def send(self, record: object) -> None:
            self.sent.put_nowait(record)

        async def recv(self) -> object:
            record = await self.coming.get()
            if record is None:
                raise LinkError("gone")
            return record

        async def close(self) -> None:
            pass

    async def main() -> None:
        life = Life()
        bells: asyncio.Queue[Bell] = asyncio.Queue()
        dials = [0]

        async def dial() -> Bell:
            dials[0] += 1
            if dials[0] < 4:
                raise LinkError("nobody there")
            made = Bell()
            bells.put_nowait(made)
            return made

        keeper = BellKeeper(life.link, dial, clock=Clock(), dice=random.Random(1))  # type: ignore[arg-type]
        keeping = asyncio.ensure_future(keeper.run(life.attempts))
        for link_epoch in (1, 2):
            made = await bells.get()
            assert isinstance(await made.sent.get(), Hello)
            made.coming.put_nowait(Welcome(1, link_epoch))
            pulse = await made.sent.get()
            assert isinstance(pulse, Pulse)
            made.coming.put_nowait(PulseAnswer(pulse.n))
            keeper.ring()
            rung = await made.sent.get()
            assert isinstance(rung, Pulse)
            assert rung.bell
            assert life.link.link_epoch == link_epoch
            made.coming.put_nowait(None)
        await bells.get()
        keeping.cancel()

    run(main())
