"""The file of a backup: one format for both stores, so that a backup of either can be restored into either.

A tar file of small compressed pieces: ``header.json``, then the rows of each table and the blobs in pieces of MessagePack,
then ``manifest.json`` (counts, and the SHA-256 of every piece) and ``seal`` (the SHA-256 of the manifest). Without its seal
it is half a file and is refused. It is written beside its name, fsynced, renamed: a name never stands for half a backup.
Bounded memory both ways. Blocking; called by the backup process only.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final, Self

import msgspec
from msgspec import Struct

from headrace.codec.digests import LARGE, hash_of, sha256
from headrace.model.errors import Invalid, StoreError
from headrace.store.images import decode_task
from headrace.store.manifest import FORMAT, REVISION, Header, Manifest, Piece
from headrace.store.tables import BLOBS, TABLES, Row

PIECE_SIZE = 1_048_576
"""Bytes of rows, before compression, that make a piece full."""
PIECE_ROWS = 5000
"""Rows likewise."""
SYNC_SIZE = 16 * 1_048_576
"""Written bytes after which the disk is waited for: a flood at the end would hold up the ledger's own fsync."""
LEVEL = 1
TROUBLES_MAX = 1000
HEAVY: Final = {
    table.name: tuple(at for at, kind in enumerate(table.types) if kind == "bytea") for table in (*TABLES, BLOBS)
}
"""Columns of each table that may be long."""
PIECE_MAX = 512 * 1_048_576

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[Any, ...]]).decode


class ArchiveWriter:
    """Writes one backup. Use as a context: left by an error, or without ``seal``, it leaves nothing behind."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._header = header
        self._pieces: list[Piece] = []
        self._rows: dict[str, int] = {}
        self._table = ""
        self._heavy: tuple[int, ...] = ()
        self._held: list[Row] = []
        self._size = 0
        self._blobs = _BlobCheck()
        self._unsynced = 0
        self._sealed = False
        fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: IO[bytes] = os.fdopen(fd, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 -- closed by seal

    def __enter__(self) -> Self:
        self._member("header.json", _json(self._header))
        return self

    def put(self, table: str, row: Row) -> None:
        """Add one row; rows of one table come one after the other."""
        if table != self._table:
            self._full()
            self._table = table
            self._heavy = HEAVY[table]
        self._held.append(row)
        for at in self._heavy:
            if data := row[at]:
                self._size += len(data)
        if self._size >= PIECE_SIZE or len(self._held) >= PIECE_ROWS:
            self._full()

    def rows(self, table: str, rows: Iterable[Row]) -> None:
        """Add all rows of one table."""
        for row in rows:
            self.put(table, row)

    def seal(self) -> Manifest:
        """Finish: the file stands under its name when this returns, whole and on the disk."""
        self._full()
        manifest = Manifest(
            header=self._header,
            rows=self._rows,
            blobs=self._blobs.count,
            blob_size=self._blobs.size,
            troubles=self._blobs.troubles(),
            pieces=self._pieces,
        )
        body = _json(manifest)
        self._member("manifest.json", body)
        self._member("seal", sha256(body).hexdigest().encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        sync_folder(self._path.parent)
        self._sealed = True
        return manifest

    def __exit__(self, *_: object) -> None:
        if not self._sealed:
            with contextlib.suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)

    def _full(self) -> None:
        """Write what is held as a piece."""
        rows, table = self._held, self._table
        if not rows:
            return
        self._held, self._size = [], 0
        self._blobs.take(table, rows)
        data = zlib.compress(_encode(rows), LEVEL)
        name = f"{len(self._pieces) + 1:08d}-{table}"
        self._pieces.append(Piece(name, table, len(rows), len(data), sha256(data).hexdigest()))
        self._rows[table] = self._rows.get(table, 0) + len(rows)
        self._member(name, data)

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._tar.addfile(info, BytesIO(data))
        self._unsynced += len(data)
        if self._unsynced > SYNC_SIZE:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._unsynced = 0


class Archive:
    """A backup to be read. ``check`` first: nothing of it is to be believed before."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, *, rows: bool = True) -> Manifest:
        """Read the whole file and compare it with its manifest. Raises Invalid, saying what is wrong with it.

        ``rows`` false: the bytes of each piece are compared and its rows not looked at, for a file that was just written.
        """
        try:
            return self._check(rows)
        except (tarfile.TarError, EOFError, msgspec.MsgspecError, zlib.error) as error:
            raise Invalid(f"{self._path} is damaged or no backup: {error}") from error
        except OSError as error:
            raise Invalid(f"{self._path} cannot be read: {error.strerror}") from error

    def rows(self) -> Iterator[tuple[str, list[Row]]]:
        """(table, rows) of every piece in order."""
        for name, data in self._members():
            if "-" in name:
                yield name.partition("-")[2], _decode(_inflated(data))

    def _check(self, deep: bool) -> Manifest:
        found: dict[str, tuple[int, str]] = {}
        counts: dict[str, int] = {}
        blobs = _BlobCheck()
        body = seal = b""
        for name, data in self._members():
            if name == "manifest.json":
                body = data
            elif name == "seal":
                seal = data
            elif name == "header.json":
                _readable(msgspec.json.decode(data, type=Header))
            else:
                found[name] = len(data), sha256(data).hexdigest()
                if not deep:
                    continue
                table = name.partition("-")[2]
                rows = _decode(_inflated(data))
                counts[table] = counts.get(table, 0) + len(rows)
                blobs.take(table, rows)
        if not seal or sha256(body).hexdigest().encode() != seal:
            raise Invalid(f"{self._path} is not whole: it has no seal, or another one")
        manifest = msgspec.json.decode(body, type=Manifest)
        told = {piece.name: (piece.size, piece.sha256) for piece in manifest.pieces}
        if told != found or (deep and counts != manifest.rows):
            raise Invalid(f"{self._path} is damaged: its pieces are not those of its manifest")
        if not deep:
            return manifest
        if (blobs.count, blobs.size) != (manifest.blobs, manifest.blob_size) or blobs.troubles() != manifest.troubles:
            raise Invalid(f"{self._path} is damaged: its blobs are not those of its manifest")
        return manifest

    def _members(self) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(self._path, "r|") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is None or member.size > PIECE_MAX:
                    raise Invalid(f"{self._path} is no backup: {member.name[:80]!r} has no place in one")
                yield member.name, file.read()


class _Pinned(Struct, frozen=True):
    """The part of a kept document that names blobs."""

    packages: dict[str, str] = {}


_pinned = msgspec.json.Decoder(_Pinned).decode


class _BlobCheck:
    """Every blob has the bytes of its digest, and every digest that a row names is there."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._there: set[str] = set()
        self._damaged: set[str] = set()
        self._wanted: set[str] = set()
        self._digest = ""
        self._hash = hash_of(LARGE)

    def take(self, table: str, rows: list[Row]) -> None:
        """Look at the rows of one piece."""
        wanted = self._wanted
        if table == BLOBS.name:
            self._bytes(rows)
        elif table == "artifact":
            wanted.update(row[4] for row in rows)
        elif table == "segment":
            wanted.update(row[6] for row in rows if row[6])
        elif table in ("task", "attempt"):
            for row in rows:
                cell = decode_task(row[-1])
                wanted.update(v.digest for v in (cell.result, cell.error, cell.item) if v is not None and v.digest)
        elif table == "document":
            for row in rows:
                wanted.update(_pinned(row[2]).packages.values())

    def troubles(self) -> list[str]:
        """What is wrong, in words; empty when all is well."""
        self._finish()
        missing = sorted(self._wanted - self._there)
        told = [f"blob {digest} is damaged: its bytes have another digest" for digest in sorted(self._damaged)]
        told += [f"blob {digest} is missing" for digest in missing]
        return told[:TROUBLES_MAX]

    def _bytes(self, rows: list[Row]) -> None:
        for digest, size, no, data in rows:
            if no == 0:
                self._finish()
                self._digest, self._hash = digest, hash_of(LARGE)
                self.count += 1
                self.size += size
            self._hash.update(data)

    def _finish(self) -> None:
        if self._digest:
            self._there.add(self._digest)
            if self._hash.hexdigest() != self._digest:
                self._damaged.add(self._digest)
            self._digest = ""


def header_columns() -> dict[str, list[str]]:
    """The columns that are written, by table."""
    return {table.name: list(table.names) for table in (*TABLES, BLOBS)}


def sync_folder(folder: Path) -> None:
    """The folder's names survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def disk_trouble(what: str) -> Iterator[None]:
    """A disk that is full, or not there, is told as such."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or error}") from error


def _readable(header: Header) -> None:
    if header.format != FORMAT:
        raise Invalid("this is no backup of Headrace")
    if header.revision > REVISION:
        raise Invalid(f"the backup has format {header.revision}; this Headrace reads up to {REVISION}: upgrade it")


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def _inflated(data: bytes) -> bytes:
    """The piece's rows; never more than PIECE_MAX, whatever the piece says."""
    inflater = zlib.decompressobj()
    rows = inflater.decompress(data, PIECE_MAX)
    if not inflater.eof:
        raise zlib.error("a piece is cut, or larger than any piece can be")
    return rows
