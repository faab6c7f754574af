"""Logs of attempts: in order, bounded, cut with exact counts, and never the attempt's trouble."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from kit import MemoryDisk, run

from headrace.agent.spool import PIECE_MAX, Spool, decode_inline
from headrace.link.records import AttemptName, Seal
from headrace.model.errors import NotFound

NAME = AttemptName(1, 0, -1, 1)


def add(log: object, data: bytes, stream: str = "stdout", **more: object) -> None:
    log.add(stream, data, 1, more.get("level", ""), "", None)  # type: ignore[attr-defined]


def everything(spool: Spool) -> list[tuple[int, str, bytes]]:
    async def read() -> list[tuple[int, str, bytes]]:
        found: list[tuple[int, str, bytes]] = []
        while True:
            page = await spool.read(NAME, found[-1][0] if found else 0, 100, 0)
            found += [(r.seq, r.stream, r.data) for r in page.records]
            if not page.records:
                return found

    return run(read())


def test_a_small_log_travels_in_its_seal_and_leaves_no_file() -> None:
    disk = MemoryDisk()
    spool = Spool(disk)
    log = spool.open(NAME, 1 << 20)
    add(log, b"out")
    add(log, b"err", "stderr")
    seal = spool.close(log)
    assert [(r.seq, r.stream, r.data) for r in decode_inline(seal.inline)] == [
        (1, "stdout", b"out"),
        (2, "stderr", b"err"),
    ]
    assert [tuple(getattr(s, f) for f in ("stream", "last", "written", "kept")) for s in seal.streams] == [
        ("stdout", 1, 3, 3),
        ("stderr", 2, 3, 3),
    ]
    assert not disk.files
    with pytest.raises(NotFound):
        run(spool.read(NAME, 0, 1, 0))


def test_many_tiny_records_still_fit_their_seal_exactly() -> None:
    spool = Spool(MemoryDisk())
    log = spool.open(NAME, 1 << 20)
    for _ in range(100):
        add(log, b"x")
    seal = spool.close(log)
    assert len(seal.inline) <= 4096
    assert [r.seq for r in decode_inline(seal.inline)] == list(range(1, 101))


def test_a_larger_log_goes_to_disk_in_order_and_stays_until_dropped() -> None:
    disk = MemoryDisk()
    spool = Spool(disk)
    log = spool.open(NAME, 1 << 22)
    for n in range(300):
        add(log, b"%d." % n * 30, "stdout" if n % 3 else "stderr")
    add(log, b"y" * (2 * PIECE_MAX + 5))
    seal = spool.close(log)
    assert seal.inline == b""
    assert seal.cut == ""
    found = everything(spool)
    assert [f[0] for f in found] == list(range(1, seal.last + 1))
    assert b"".join(d for _, s, d in found if s == "stdout").endswith(b"y" * (2 * PIECE_MAX + 5))
    assert max(len(d) for _, _, d in found) <= PIECE_MAX
    assert everything(Spool(disk)) == found, "a later life serves it as well"
    spool.drop(NAME)
    assert not disk.files


def test_beyond_its_limit_head_and_tail_are_kept_and_the_cut_is_counted_exactly() -> None:
    spool = Spool(MemoryDisk())
    limit = 1 << 20
    log = spool.open(NAME, limit)
    written = {"stdout": 0, "stderr": 0}
    for n in range(400):
        stream = "stderr" if n % 7 == 0 else "stdout"
        data = b"%06d" % n * 2000
        written[stream] += len(data)
        add(log, data, stream)
    seal = spool.close(log)
    found = everything(spool)
    kept = {s: sum(len(d) for _, t, d in found if t == s) for s in written}
    assert {s.stream: (s.written, s.kept) for s in seal.streams} == {s: (written[s], kept[s]) for s in written}
    assert limit / 2 < sum(kept.values()) <= limit * 1.1
    assert found[0][0] == 1
    assert found[-1][0] == seal.last
    gaps = [(a, b) for (a, _, _), (b, _, _) in pairwise(found) if b != a + 1]
    assert len(gaps) == 1, "one hole, in the middle"
    assert f"{written['stdout'] - kept['stdout']} bytes of stdout" in seal.cut


def test_a_full_disk_cuts_the_log_and_raises_nothing() -> None:
    disk = MemoryDisk()
    spool = Spool(disk)
    log = spool.open(NAME, 1 << 20)
    add(log, b"a" * 8000)
    disk.full = True
    add(log, b"b" * 8000)
    disk.full = False
    add(log, b"c" * 8000)
    seal = spool.close(log)
    assert "No space left" in seal.cut
    assert [(s.written, s.kept) for s in seal.streams] == [(24_000, 8_000)]
    assert b"".join(d for _, _, d in everything(spool)) == b"a" * 8000, "a true prefix"


def test_a_disk_that_is_full_from_the_first_byte_keeps_nothing_and_says_so() -> None:
    disk = MemoryDisk()
    disk.full = True
    spool = Spool(disk)
    log = spool.open(NAME, 1 << 20)
    add(log, b"a")
    add(log, b"b" * 8000)
    seal = spool.close(log)
    assert [(s.written, s.kept) for s in seal.streams] == [(8001, 0)]
    assert seal.cut


def test_a_reader_that_waits_gets_the_next_record_and_then_the_seal() -> None:
    async def main() -> None:
        spool = Spool(MemoryDisk())
        log = spool.open(NAME, 1 << 20)
        waiting = asyncio.ensure_future(spool.read(NAME, 0, 10, 30_000))
        await asyncio.sleep(0)
        add(log, b"one")
        page = await waiting
        assert [r.data for r in page.records] == [b"one"]
        assert not page.sealed
        waiting = asyncio.ensure_future(spool.read(NAME, 1, 10, 30_000))
        await asyncio.sleep(0)
        spool.close(log)
        assert (await waiting).sealed

    run(main())


def test_nothing_is_added_after_the_seal() -> None:
    spool = Spool(MemoryDisk())
    log = spool.open(NAME, 1 << 20)
    assert spool.close(log) == Seal()
    add(log, b"late")
    assert log.seal() == Seal()
