"""Bytes by digest on the agent: results and artifacts until control has them, input files and packages for attempts.

Two shelves: ``out`` (named by outcomes, counted, removed when acknowledged) and ``in`` (a cache, removed oldest first).
Must never build a path from anything but a checked digest. Called by ``agent.attempts``, ``places``, ``calls``.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import IO, Protocol

from headrace.codec.digests import hash_of, sha256
from headrace.link.records import Artifact
from headrace.link.wire import check_digest
from headrace.model.errors import Conflict, Invalid, NotFound

CACHE_MAX = 1024 * 1024 * 1024
PIECE = 64 * 1024 * 1024
"""So much is copied before somebody who needs it no longer is heard."""
SMALL_PIECE = 1024 * 1024
CANNOT = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""The kernel or the file system cannot copy by itself."""
"""Bytes of input files kept for later attempts."""


class Blobs(Protocol):
    """What the agent's logic needs of its blobs; the simulator keeps them in memory."""

    def put(self, data: bytes) -> str: ...

    def release(self, digests: Iterable[str]) -> None: ...

    def need(self, digests: Iterable[str]) -> None: ...

    def spare(self, digests: Iterable[str]) -> None: ...

    def keep_only(self, digests: Iterable[str]) -> None: ...

    def take(self, digest: str, data: bytes) -> None: ...

    def take_piece(self, digest: str, offset: int, total: int, data: bytes) -> None: ...

    def has(self, digest: str) -> bool: ...

    def read(self, digest: str, offset: int, size: int) -> bytes: ...


class FileBlobs:
    """``Blobs`` in a folder."""

    def __init__(self, folder: str) -> None:
        self._out = os.path.join(folder, "out")
        self._in = os.path.join(folder, "in")
        for shelf in (self._out, self._in):
            os.makedirs(shelf, mode=0o700, exist_ok=True)
        self._counts: Counter[str] = Counter()
        self._needed: Counter[str] = Counter()
        self._lock = threading.Lock()
        """Held while a file of ``out`` appears or goes and its count changes: files are kept in threads."""
        self._numbers = itertools.count(1)
        self._arriving: dict[str, _Arriving] = {}
        for name in os.listdir(self._in):
            if name.startswith("."):
                _unlink(os.path.join(self._in, name))
        self._cached = sum(e.stat().st_size for e in os.scandir(self._in))

    def put(self, data: bytes) -> str:
        """Keep a result; gives its digest. Raises OSError."""
        digest = sha256(data).hexdigest()
        with self._lock:
            if not os.path.exists(self._path(self._out, digest)):
                self._write(self._out, digest, data)
            self._counts[digest] += 1
        return digest

    def keep_file(self, path: str, shown: str) -> Artifact:
        """Keep a file an attempt left, as ``shown``. May run in a thread. Raises OSError."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        part = self._part(self._out)
        try:
            with open(fd, "rb") as source:
                digest, size = _copied(source, part)
            with self._lock:
                os.replace(part, self._path(self._out, digest))
                self._counts[digest] += 1
        except OSError:
            _unlink(part)
            raise
        return Artifact(shown, digest, size)

    def release(self, digests: Iterable[str]) -> None:
        """An outcome that named these is acknowledged."""
        for digest in digests:
            with self._lock:
                self._counts[digest] -= 1
                if self._counts[digest] <= 0:
                    del self._counts[digest]
                    if digest not in self._needed:
                        _unlink(self._path(self._out, digest))

    def need(self, digests: Iterable[str]) -> None:
        """An attempt that is here has these as input: they stay, if they are here."""
        self._needed.update(digests)

    def spare(self, digests: Iterable[str]) -> None:
        """It needs them no longer."""
        for digest in digests:
            self._needed[digest] -= 1
            if self._needed[digest] <= 0:
                del self._needed[digest]
                with self._lock:
                    if digest not in self._counts:
                        _unlink(self._path(self._out, digest))

    def keep_only(self, digests: Iterable[str]) -> None:
        """At start: these are still named by outcomes, the rest is nobody's."""
        self._counts = Counter(digests)
        for name in os.listdir(self._out):
            if name not in self._counts:
                _unlink(os.path.join(self._out, name))

    def take(self, digest: str, data: bytes) -> None:
        """Keep bytes from control for attempts. Raises ``Invalid`` when they are not what they say."""
        if sha256(data).hexdigest() != check_digest(digest):
            raise Invalid(f"the bytes do not have the digest {digest}")
        path = self._path(self._in, digest)
        if os.path.exists(path):
            os.utime(path)
            return
        self._write(self._in, digest, data)
        self._came(digest, len(data))

    def take_piece(self, digest: str, offset: int, total: int, data: bytes) -> None:
        """Keep a piece of such bytes. They are visible when the last one is here and the whole is what it says.

        Raises ``Invalid`` when it is not, ``Conflict`` when the piece before this one is not here, OSError.
        """
        path = self._path(self._in, digest)
        if os.path.exists(path):
            os.utime(path)
            return
        arriving = self._arriving.get(digest)
        if arriving is None:
            if offset:
                raise Conflict(f"the bytes before {offset} of {digest} are not here: begin again")
            arriving = self._arriving[digest] = _Arriving(self._part(self._in), total)
        if offset + len(data) <= arriving.size:
            return
        if offset != arriving.size:
            raise Conflict(f"the bytes from {arriving.size} to {offset} of {digest} are not here: begin again")
        try:
            arriving.add(data)
        except OSError:
            del self._arriving[digest]
            _unlink(arriving.path)
            raise
        if arriving.size >= total:
            del self._arriving[digest]
            if arriving.digest != digest:
                _unlink(arriving.path)
                raise Invalid(f"the bytes do not have the digest {digest}")
            os.replace(arriving.path, path)
            self._came(digest, arriving.size)

    def has(self, digest: str) -> bool:
        """Whether these bytes are here."""
        return any(os.path.exists(self._path(s, digest)) for s in (self._in, self._out))

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """A piece of the bytes. Raises ``NotFound``."""
        with open(self.path(digest), "rb") as f:
            return os.pread(f.fileno(), size, offset)

    def path(self, digest: str) -> str:
        """Where these bytes are. Raises ``NotFound``."""
        for shelf in (self._in, self._out):
            path = self._path(shelf, digest)
            if os.path.exists(path):
                return path
        raise NotFound(f"this agent has no bytes with digest {digest}")

    def copy_to(self, digest: str, path: str, *, left: Callable[[], bool] = lambda: False) -> None:
        """A private copy: what an attempt does to it harms nobody else. May run in a thread, and stops when ``left``.

        Where the file system can, the bytes are shared until one is written. Raises ``NotFound``, OSError.
        """
        with open(self.path(digest), "rb", buffering=0) as source, open(path, "wb", buffering=0) as copy:
            try:
                while not left() and os.copy_file_range(source.fileno(), copy.fileno(), PIECE):
                    pass
            except OSError as error:
                if error.errno not in CANNOT:
                    raise
                # both stand where the last piece ended
                while not left() and (data := source.read(SMALL_PIECE)):
                    _write_all(copy, data)

    def _path(self, shelf: str, digest: str) -> str:
        return os.path.join(shelf, check_digest(digest))

    def _part(self, shelf: str) -> str:
        return os.path.join(shelf, f".part-{os.getpid()}-{next(self._numbers)}")

    def _write(self, shelf: str, digest: str, data: bytes) -> None:
        part = self._part(shelf)
        try:
            with open(part, "xb") as f:
                f.write(data)
            os.replace(part, self._path(shelf, digest))
        except OSError:
            _unlink(part)
            raise

    def _came(self, digest: str, size: int) -> None:
        self._cached += size
        if self._cached > CACHE_MAX:
            self._evict(digest)

    def _evict(self, spare: str) -> None:
        entries = sorted(os.scandir(self._in), key=lambda e: e.stat().st_mtime)
        for entry in entries:
            if self._cached <= CACHE_MAX // 2:
                return
            if entry.name != spare and entry.name not in self._needed and not entry.name.startswith("."):
                self._cached -= entry.stat().st_size
                _unlink(entry.path)


def _copied(source: IO[bytes], part: str) -> tuple[str, int]:
    """Digest and size of what was copied into a new file."""
    hashed, size = hash_of(os.fstat(source.fileno()).st_size), 0
    with open(part, "xb") as kept:
        while piece := source.read(1 << 20):
            hashed.update(piece)
            kept.write(piece)
            size += len(piece)
    return hashed.hexdigest(), size


class _Arriving:
    """Bytes that come in pieces: what is here of them, in a file of its own, and their digest so far."""

    def __init__(self, path: str, total: int) -> None:
        self.path = path
        self.size = 0
        self._hashed = hash_of(total)

    @property
    def digest(self) -> str:
        return self._hashed.hexdigest()

    def add(self, data: bytes) -> None:
        """The next piece. Raises OSError."""
        with open(self.path, "ab") as f:
            f.write(data)
        self._hashed.update(data)
        self.size += len(data)


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Write all of it to an unbuffered file."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
