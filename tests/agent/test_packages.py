"""The agent's packages: verified, whole or invisible, bounded; hostile archives are refused."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from headrace.agent.packages import KEPT_MAX, FilePackages
from headrace.codec.scan import tasks_in
from headrace.model.errors import HeadraceError, Invalid, NotFound, TooLarge


def archive(*members: tuple[str, bytes], mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)
    return buffer.getvalue()


def put(folder: Path, data: bytes, digest: str = "") -> FilePackages:
    store = FilePackages(str(folder))
    asyncio.run(store.put(digest or hashlib.sha256(data).hexdigest(), data))
    return store


def test_a_package_is_unpacked_and_found_again_after_a_restart(tmp_path: Path) -> None:
    data = archive(("flow.py", b"x = 1"), ("src/lib/__init__.py", b""))
    digest = hashlib.sha256(data).hexdigest()
    put(tmp_path, data)
    top, src = FilePackages(str(tmp_path)).roots(digest)
    assert (Path(top) / "flow.py").read_bytes() == b"x = 1"
    assert Path(src).name == "src"


def test_bytes_that_are_not_what_the_digest_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="digest"):
        put(tmp_path, archive(("a.py", b"")), "0" * 64)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("digest", ["../x", "A" * 64, "", "0" * 63])
def test_a_digest_that_is_none_never_becomes_a_path(tmp_path: Path, digest: str) -> None:
    store = FilePackages(str(tmp_path))
    assert not store.has(digest)
    with pytest.raises(HeadraceError):
        asyncio.run(store.put(digest, b""))
    with pytest.raises(NotFound):
        store.roots(digest)


@pytest.mark.parametrize("name", ["../evil.py", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "./a"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="bad name"):
        put(tmp_path, archive((name, b"x")))
    assert os.listdir(tmp_path) == []


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        with pytest.raises(Invalid, match="plain file"):
            put(tmp_path, archive(("a", b"/etc/passwd"), mode=kind | 0o777))


def test_bombs_doubles_and_rubbish_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        put(tmp_path, archive(("a", b"\0" * 50_000_000)))
    with pytest.raises(Invalid, match="not a zip"):
        put(tmp_path, b"rubbish")
    with pytest.warns(UserWarning, match="Duplicate"), pytest.raises(Invalid, match="twice"):
        put(tmp_path, archive(("a", b"1"), ("a", b"2")))
    with pytest.raises(Invalid):
        put(tmp_path, archive(("a", b"1"), ("a/b", b"2")))
    damaged = bytearray(archive(("a.py", os.urandom(1000))))
    damaged[100] ^= 0xFF
    with pytest.raises(Invalid):
        put(tmp_path, bytes(damaged))
    assert os.listdir(tmp_path) == []


def test_what_a_crash_left_half_unpacked_is_invisible_and_removed(tmp_path: Path) -> None:
    (tmp_path / ".half" / "code").mkdir(parents=True)
    FilePackages(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_the_package_that_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    async def work() -> None:
        store = FilePackages(str(tmp_path))
        packages = [archive(("a.py", str(n).encode())) for n in range(KEPT_MAX + 2)]
        digests = [hashlib.sha256(data).hexdigest() for data in packages]
        for age, (digest, data) in enumerate(zip(digests[:KEPT_MAX], packages, strict=False)):
            await store.put(digest, data)
            os.utime(tmp_path / digest, (age, age))
        store.pin(digests[0])
        store.unpin(digests[0])
        store.pin(digests[1])
        os.utime(tmp_path / digests[1], (1, 1))
        for n in (KEPT_MAX, KEPT_MAX + 1):
            await store.put(digests[n], packages[n])
        gone = [n for n, digest in enumerate(digests) if not store.has(digest)]
        assert gone == [2]  # 0 was used since; 1 is in use, and counts
        store.unpin(digests[1])
        assert (tmp_path / digests[1]).stat().st_mtime > 1

    asyncio.run(work())


def test_tasks_are_found_by_syntax_and_nothing_is_imported() -> None:
    source = b"""
import headrace, headrace as h
from headrace import Context, Task as Base, task as t
raise SystemExit("imported")
@t
def one(ctx: Context, a, b=1, *, c, d=2): "Does one."
@headrace.task(retries=3)
async def two(x): ...
@h.task
def three(): ...
class Four(Base):
    def run(self, ctx, n, m=1): ...
@other
def five(): ...
def six(): ...
"""
    found = tasks_in(archive(("pkg/flow.py", source), ("broken.py", b"def"), ("not-a-module.py", source)))
    assert [i.reference for i in found] == ["pkg.flow:Four", "pkg.flow:one", "pkg.flow:three", "pkg.flow:two"]
    assert (found[1].parameters, found[1].required, found[1].doc) == (("a", "b", "c", "d"), ("a", "c"), "Does one.")
    assert (found[0].parameters, found[0].required) == (("n", "m"), ("n",))
