"""The agent's bytes: kept as long as somebody needs them, and no longer; files are kept in threads."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.agent.blobs import FileBlobs
from headrace.agent.places import FilePlaces
from headrace.link.records import Assignment


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.usefixtures("restless")
def test_files_that_are_kept_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    blobs = FileBlobs(str(tmp_path / "blobs"))
    (tmp_path / "same").write_bytes(b"same")
    for n in range(8):
        (tmp_path / str(n)).write_bytes(b"%d" % n)

    def keep(n: int) -> None:
        for _ in range(150):
            blobs.keep_file(str(tmp_path / str(n)), "x")
            blobs.keep_file(str(tmp_path / "same"), "x")
            blobs.release([sha(b"%d" % n)])

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(keep, n) for n in range(8)]:
            done.result()
    blobs.release([sha(b"same")] * (8 * 150 - 1))
    assert blobs.read(sha(b"same"), 0, 9) == b"same"
    blobs.release([sha(b"same")])
    assert list((tmp_path / "blobs" / "out").iterdir()) == []


def test_files_that_could_not_all_be_kept_leave_nothing_behind(tmp_path: Path) -> None:
    blobs = FileBlobs(str(tmp_path / "blobs"))
    place = FilePlaces(str(tmp_path / "places"), blobs).of(Assignment(1, 0, -1, 1, 1, 7, "command", "t"))
    place.make()
    (Path(place.outputs) / "a").write_bytes(b"a")
    (Path(place.outputs) / "b").write_bytes(b"b")
    (tmp_path / "blobs" / "out" / sha(b"b")).mkdir()  # what is there already cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        place.harvest()
    assert [p.name for p in (tmp_path / "blobs" / "out").iterdir()] == [sha(b"b")]


def test_what_an_attempt_needs_stays_until_it_needs_it_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.agent.blobs.CACHE_MAX", 10)
    blobs = FileBlobs(str(tmp_path))
    told = blobs.put(b"told")
    blobs.take(sha(b"cached"), b"cached")
    blobs.take(sha(b"old"), b"old")
    for _ in range(2):
        blobs.need([told, sha(b"cached"), sha(b"not here")])
    blobs.release([told])
    blobs.take(sha(b"another"), b"another")
    assert [blobs.has(sha(d)) for d in (b"told", b"cached", b"old", b"another")] == [True, True, False, True]
    blobs.spare([told, sha(b"cached"), sha(b"not here")])
    assert blobs.has(told)
    blobs.put(b"told")
    blobs.spare([told, sha(b"cached"), sha(b"not here")])
    assert blobs.has(told), "an outcome names it"
    blobs.release([told])
    assert not blobs.has(told)
    blobs.take(sha(b"the last"), b"the last")
    assert not blobs.has(sha(b"cached"))
