"""The journal: what one life leaves for the next, however its file was torn."""

from __future__ import annotations

import msgspec
import pytest
from kit import MemoryDisk, job

from headrace.agent.journal import Journal
from headrace.link.records import Outcome
from headrace.model.changes import OutcomeKind


def outcome(m: int, run: int, **more: object) -> Outcome:
    return Outcome(m, run, 0, -1, 1, 7, 1, OutcomeKind.succeeded, 1, 2, **more)  # type: ignore[arg-type]


def written(disk: MemoryDisk) -> Journal:
    journal = Journal(disk)
    journal.begin([])
    journal.accepted([job(1), job(2), job(3), job(4)])
    journal.finished([outcome(1, 1), outcome(2, 2)])
    journal.acknowledged(1)
    journal.fenced((4, 0, -1, 1))
    return journal


def test_the_next_life_learns_what_ended_unacknowledged_and_what_never_ended() -> None:
    disk = MemoryDisk()
    written(disk)
    left = Journal(disk).recover()
    assert [o.run for o in left.finished] == [2]
    assert left.unfinished == ((3, 0, -1, 1, 7, 1),)


def test_a_tail_torn_at_any_byte_loses_only_the_torn_record() -> None:
    disk = MemoryDisk()
    written(disk)
    whole = bytes(disk.files["journal"])
    seen = set()
    for cut in range(len(whole) + 1):
        disk.files["journal"] = bytearray(whole[:cut])
        left = Journal(disk).recover()
        seen.add((tuple(o.run for o in left.finished), tuple(t[0] for t in left.unfinished)))
    assert seen == {
        ((), ()), ((), (1, 2, 3, 4)), ((1, 2), (3, 4)), ((2,), (3, 4)), ((2,), (3,)),
    }  # fmt: skip


def test_a_damaged_record_ends_the_reading_and_is_never_believed() -> None:
    disk = MemoryDisk()
    written(disk)
    whole = disk.files["journal"]
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        disk.files["journal"] = broken
        left = Journal(disk).recover()
        assert {o.run for o in left.finished} <= {1, 2}
        assert {t[0] for t in left.unfinished} <= {1, 2, 3, 4}


def test_it_is_written_anew_when_it_has_grown_and_loses_nothing() -> None:
    disk = MemoryDisk()
    journal = Journal(disk, rotate_at=2000)
    journal.begin([])
    journal.accepted([job(9999)])
    for m in range(1, 501):
        journal.accepted([job(m)])
        journal.finished([outcome(m, m)])
        if m > 3:
            journal.acknowledged(m - 3)
    assert len(disk.files["journal"]) < 6000
    assert "journal.next" not in disk.files
    left = Journal(disk).recover()
    assert [o.m for o in left.finished] == [498, 499, 500]
    assert [t[0] for t in left.unfinished] == [9999]


def test_of_an_agent_at_rest_little_lies_about_and_what_is_under_way_is_kept() -> None:
    disk = MemoryDisk()
    journal = Journal(disk, rotate_at=100_000_000)
    journal.begin([])
    journal.accepted([job(9999)])
    for m in range(1, 3001):
        journal.accepted([job(m)])
        journal.finished([outcome(m, m)])
    journal.acknowledged(3000)
    assert len(disk.files["journal"]) > 256 * 1024  # one is under way
    assert [t[0] for t in Journal(disk).recover().unfinished] == [9999]
    journal.finished([outcome(3001, 9999)])
    journal.acknowledged(3001)
    assert not disk.files["journal"]
    journal.accepted([job(10_000)])
    assert [t[0] for t in Journal(disk).recover().unfinished] == [10_000]


def test_a_journal_that_cannot_be_begun_anew_at_rest_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    journal = Journal(disk, rotate_at=100_000_000)
    journal.begin([])
    for m in range(1, 3001):
        journal.accepted([job(m)])
        journal.finished([outcome(m, m)])

    def full(name: str, by: str) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace", full)
        journal.acknowledged(3000)
    assert journal.trouble == "no room"
    journal.accepted([job(10_000)])
    assert [t[0] for t in Journal(disk).recover().unfinished] == [10_000]
    journal.finished([outcome(3001, 10_000)])
    journal.acknowledged(3001)
    assert not journal.trouble
    assert not disk.files["journal"]


def test_a_life_that_dies_while_it_begins_leaves_the_older_journal() -> None:
    disk = MemoryDisk()
    written(disk)
    disk.full = True
    journal = Journal(disk)
    left = journal.recover()
    try:
        journal.begin(left.finished)
    except OSError:
        pass
    else:
        raise AssertionError("a full disk was not noticed")
    assert Journal(disk).recover() == left


def test_an_outcome_that_cannot_be_written_is_told_as_failed_and_the_others_of_its_turn_as_they_are() -> None:
    disk = MemoryDisk()
    journal = written(disk)
    bad = outcome(8, 8, exit_status="half a \ud800 pair", result=b"1")
    told = [msgspec.msgpack.decode(e, type=Outcome) for e in journal.finished([outcome(7, 7), bad, outcome(9, 9)])]
    assert [(o.m, o.kind) for o in told] == [
        (7, OutcomeKind.succeeded), (8, OutcomeKind.failed), (9, OutcomeKind.succeeded),
    ]  # fmt: skip
    assert "could not be written" in (told[1].reason or "")
