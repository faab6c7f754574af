"""What an agent must have before work goes there: of any size, asked for when in doubt, and told when it cannot be had."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from control.test_whole import command, run
from control.whole import Whole
from headrace.agent.blobs import FileBlobs
from headrace.agent.packages import KEPT_MAX
from headrace.control.supply import Supplies
from headrace.link.records import Assignment, InputFile
from headrace.link.wire import FETCH_PIECE, PACKAGE_MAX
from headrace.model.errors import Conflict, Invalid, NotFound, StoreError
from headrace.model.states import RunState, TaskState


class Kept:
    """Blobs in memory; ``damaged`` ones raise as the store does, at the end."""

    def __init__(self, *kept: bytes) -> None:
        self.kept = {sha(data): data for data in kept}
        self.damaged: set[str] = set()
        self.sizes: dict[str, int] = {}

    async def size(self, digest: str) -> int | None:
        data = self.kept.get(digest)
        return self.sizes.get(digest, None if data is None else len(data))

    async def get(self, digest: str) -> bytes:
        if digest not in self.kept:
            raise NotFound(f"no blob {digest}")
        if digest in self.damaged:
            raise StoreError(f"blob {digest} is damaged")
        return self.kept[digest]

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        data = self.kept[digest]
        for start in range(0, len(data), 300_000):
            yield data[start : start + 300_000]
        if digest in self.damaged:
            raise StoreError(f"blob {digest} is damaged")


class Shelf:
    """The agent's blobs and packages behind its calls; ``full``: its disk is."""

    def __init__(self, folder: Path) -> None:
        self.blobs = FileBlobs(str(folder))
        self.packages: set[str] = set()
        self.asked = 0
        self.full = False

    async def has_packages(self, digests: Sequence[str]) -> list[str]:
        self.asked += 1
        return [d for d in digests if d in self.packages]

    async def put_package(self, digest: str, data: bytes) -> None:
        self.packages.add(digest)

    async def has_blobs(self, digests: Sequence[str]) -> list[str]:
        return [d for d in digests if self.blobs.has(d)]

    async def put_blob(self, digest: str, data: bytes) -> None:
        if self.full:
            raise Conflict("the agent cannot write it to its disk: No space left on device")
        self.blobs.take(digest, data)

    async def put_piece(self, digest: str, offset: int, total: int, data: bytes) -> None:
        assert len(data) <= FETCH_PIECE
        self.blobs.take_piece(digest, offset, total, data)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def needs(*files: bytes, package: str = "", number: int = 1) -> Assignment:
    inputs = tuple(InputFile(f"a/{n}", sha(data), len(data)) for n, data in enumerate(files))
    return Assignment(number, 0, -1, 1, 1, 1, "command", "t", inputs=inputs, package=package)


def give(supplies: Supplies, shelf: Shelf, *batch: Assignment) -> list[Any]:
    return asyncio.run(supplies.give(shelf, 1, batch))  # type: ignore[arg-type] # a part of the calls


@pytest.mark.parametrize("size", [0, 1, FETCH_PIECE, FETCH_PIECE + 1, 3 * FETCH_PIECE, 3 * FETCH_PIECE + 7])
def test_a_file_reaches_the_agent_whatever_its_size(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    shelf = Shelf(tmp_path)
    assert give(Supplies(Kept(data)), shelf, needs(data)) == []  # type: ignore[arg-type] # a part of the blobs
    with Path(shelf.blobs.path(sha(data))).open("rb") as f:
        assert f.read() == data


@pytest.mark.parametrize("size", [10, 3 * FETCH_PIECE])
def test_a_damaged_file_is_told_and_never_shown_to_the_agent(tmp_path: Path, size: int) -> None:
    data, other = random.Random(1).randbytes(size), b"other"
    kept, shelf = Kept(data, other), Shelf(tmp_path)
    kept.damaged.add(sha(data))
    (unable,) = give(Supplies(kept), shelf, needs(other), needs(other, data))  # type: ignore[arg-type] # a part of the blobs
    assert (unable.at, unable.lasting) == (1, True)
    assert unable.why.startswith("a/1 cannot be given to the agent: blob")
    assert not shelf.blobs.has(sha(data))
    kept.damaged.clear()
    assert give(Supplies(kept), shelf, needs(data)) == []  # type: ignore[arg-type] # a part of the blobs
    assert shelf.blobs.has(sha(data))


def test_a_package_over_the_limit_is_told_with_the_limit(tmp_path: Path) -> None:
    kept = Kept(b"code")
    kept.sizes[sha(b"code")] = PACKAGE_MAX + 1
    (unable,) = give(Supplies(kept), Shelf(tmp_path), needs(package=sha(b"code")))  # type: ignore[arg-type] # a part of the blobs
    assert unable.lasting
    assert f"it has {PACKAGE_MAX + 1} bytes, and an agent takes at most 64 MiB" in unable.why


def test_a_full_disk_of_the_agent_is_not_for_ever(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.full = True
    (unable,) = give(Supplies(Kept(b"x")), shelf, needs(b"x"))  # type: ignore[arg-type] # a part of the blobs
    assert not unable.lasting
    assert "No space left" in unable.why


def test_pieces_may_come_twice_but_not_out_of_order_nor_as_other_bytes(tmp_path: Path) -> None:
    blobs = FileBlobs(str(tmp_path))
    data = b"abcdef"
    with pytest.raises(Conflict):
        blobs.take_piece(sha(data), 2, 6, b"cd")
    for offset in (0, 0, 2, 0, 2):
        blobs.take_piece(sha(data), offset, 6, data[offset : offset + 2])
    with pytest.raises(Conflict):
        blobs.take_piece(sha(data), 5, 6, b"f")
    assert not blobs.has(sha(data))
    blobs.take_piece(sha(data), 4, 6, b"ef")
    assert blobs.read(sha(data), 0, 9) == data
    blobs.take_piece(sha(b"real"), 0, 4, b"fa")
    with pytest.raises(Invalid, match="digest"):
        blobs.take_piece(sha(b"real"), 2, 4, b"ke")
    assert not blobs.has(sha(b"real"))
    blobs.take_piece(sha(b"cut off"), 0, 7, b"cut")
    assert len(list((tmp_path / "in").iterdir())) == 2
    FileBlobs(str(tmp_path))
    assert [p.name for p in (tmp_path / "in").iterdir()] == [sha(data)]


def test_an_input_file_may_be_larger_than_any_request(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            size = PACKAGE_MAX + 1
            make = ["sh", "-c", f"truncate -s {size} $HEADRACE_OUTPUTS/large"]
            look = ["sh", "-c", f"test $(stat -c %s $HEADRACE_INPUTS/a/large) = {size}"]
            document = command(*make)
            document["tasks"].append({"name": "b", "command": look, "needs": ["a"]})
            (row,) = await whole.ended(await whole.submit(document))
            assert row.cell.state is RunState.succeeded

    run(work())


def test_a_damaged_blob_fails_the_task_that_needs_it_and_control_lives(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            # The store has other bytes under that digest before the task has ended.
            damage = (
                f"echo 1 > $HEADRACE_OUTPUTS/x; d=$(sha256sum $HEADRACE_OUTPUTS/x | cut -c1-64); "
                f"mkdir -p {tmp_path}/blobs/$(echo $d | cut -c1-2); "
                f"echo 2 > {tmp_path}/blobs/$(echo $d | cut -c1-2)/$d"
            )
            document = command("sh", "-c", damage)
            document["tasks"].append({"name": "b", "command": ["cat", "a/x"], "needs": ["a"]})
            (r,) = await whole.submit(document)
            (row,) = await whole.ended([r])
            assert row.cell.state is RunState.failed
            a, b = await whole.tasks(r)
            assert (a.state, b.state) == (TaskState.succeeded, TaskState.failed)
            assert "a/x cannot be given to the agent" in str(b)
            (row,) = await whole.ended(await whole.submit(command("true")))
            assert row.cell.state is RunState.succeeded

    run(work())


def zipped(name: str, source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr(f"{name}.py", source)
    return buffer.getvalue()


def test_a_package_that_the_agent_threw_away_is_sent_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path, slots=1) as whole:
            documents = []
            for name in ("one", "two"):
                source = f"from headrace import task\n@task\ndef f():\n    return {name!r}\n"
                digest, _ = await whole.node.store.blobs.put(zipped(name, source))
                tasks = [{"name": "a", "python": f"{name}:f", "package": name}]
                documents.append({"name": name, "tasks": tasks, "packages": {name: digest}})
            for document in documents:
                (row,) = await whole.ended(await whole.submit(document))
                assert row.cell.state is RunState.succeeded
            for n in range(KEPT_MAX):
                data = zipped(f"other{n}", "")
                await whole.agent.packages.put(sha(data), data)
            assert not whole.agent.packages.has(documents[0]["packages"]["one"])
            (r,) = await whole.submit(documents[0])
            (row,) = await whole.ended([r], 15)
            assert row.cell.state is RunState.succeeded
            (cell,) = await whole.tasks(r)
            assert cell.attempt == 1

    run(work())


def test_what_an_agent_has_is_asked_once_until_there_is_doubt(tmp_path: Path) -> None:
    shelf, supplies = Shelf(tmp_path), Supplies(Kept(b"code"))  # type: ignore[arg-type] # a part of the blobs
    a = needs(package=sha(b"code"))
    for _ in range(3):
        assert give(supplies, shelf, a) == []
    assert shelf.asked == 1
    shelf.packages.clear()
    supplies.doubt(1)
    assert give(supplies, shelf, a) == []
    assert (shelf.asked, shelf.packages) == (2, {a.package})
