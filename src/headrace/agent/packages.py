"""Packages on the agent, by SHA-256: verified, unpacked aside, visible only when whole, kept while in use.

Nothing is imported here and nothing is written outside the store's folder. Called by ``agent.calls`` (put, has) and the
Python executor (roots, pin). Files are written in a thread, so that the loop goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections import Counter

import msgspec

from headrace.codec.archive import files, open_archive, roots_of
from headrace.codec.digests import sha256
from headrace.model.errors import Invalid, NotFound

ROOTS_FILE = "roots.json"
KEPT_MAX = 64
"""Packages kept when nobody uses them; the least recently used beyond that go."""


class FilePackages:
    """The store below one folder. One instance per agent; call it on the loop's thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name in os.listdir(folder):
            if name.startswith("."):
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        self._roots: dict[str, tuple[str, ...]] = {}
        self._pins: Counter[str] = Counter()
        self._writing: dict[str, asyncio.Lock] = {}

    def has(self, digest: str) -> bool:
        """Whether the whole package is here."""
        return digest in self._roots or (is_digest(digest) and os.path.exists(self._path(digest, ROOTS_FILE)))

    def kept(self) -> list[str]:
        """Digests of the whole packages that are here."""
        return sorted(name for name in os.listdir(self._folder) if self.has(name))

    async def put(self, digest: str, data: bytes) -> None:
        """Keep this package. Raises Invalid when it is not what its digest says, or no good archive."""
        if not is_digest(digest):
            raise Invalid(f"not a digest: {digest[:80]!r}", malformed=True)
        if self.has(digest):
            return
        async with self._writing.setdefault(digest, asyncio.Lock()):
            if not self.has(digest):
                await asyncio.get_running_loop().run_in_executor(None, self._unpack, digest, data)
        self._writing.pop(digest, None)
        self._trim(digest)

    def roots(self, digest: str) -> tuple[str, ...]:
        """Absolute folders of the package for ``sys.path``. Raises NotFound."""
        found = self._roots.get(digest)
        if found is None:
            if not self.has(digest):
                raise NotFound(f"this agent does not have the package {digest[:12]}")
            with open(self._path(digest, ROOTS_FILE), "rb") as f:
                inner = msgspec.json.decode(f.read(), type=list[str])
            code = self._path(digest, "code")
            found = self._roots[digest] = tuple(os.path.join(code, root) if root else code for root in inner)
        return found

    def pin(self, digest: str) -> None:
        """Somebody runs code of it: it stays."""
        self._pins[digest] += 1
        self._used(digest)

    def unpin(self, digest: str) -> None:
        """One user less."""
        self._pins[digest] -= 1
        if self._pins[digest] <= 0:
            del self._pins[digest]
        self._used(digest)

    def _used(self, digest: str) -> None:
        """The times of folders tell, in the next life too, which were used least recently."""
        with contextlib.suppress(OSError):
            os.utime(os.path.join(self._folder, digest))

    def _path(self, digest: str, name: str) -> str:
        return os.path.join(self._folder, digest, name)

    def _unpack(self, digest: str, data: bytes) -> None:
        if sha256(data).hexdigest() != digest:
            raise Invalid("the package's bytes do not have the digest that they were sent under", malformed=True)
        archive = open_archive(data)
        roots = roots_of(archive)
        temporary = os.path.join(self._folder, f".{digest[:16]}-{os.urandom(4).hex()}")
        code = os.path.join(temporary, "code")
        try:
            os.makedirs(code, mode=0o700)
            for name, content in files(archive):
                path = os.path.join(code, *name.split("/"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "xb") as f:
                    f.write(content)
            with open(os.path.join(temporary, ROOTS_FILE), "wb") as f:
                f.write(msgspec.json.encode(roots))
            final = os.path.join(self._folder, digest)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(temporary, final)
        except FileExistsError as e:
            raise Invalid(f"the package has a file twice: {e.filename}", malformed=True) from e
        except (NotADirectoryError, IsADirectoryError) as e:
            raise Invalid(f"the package has a file and a folder of one name: {e.filename}", malformed=True) from e
        except OSError as e:
            if e.errno != errno.ENAMETOOLONG:
                raise
            raise Invalid(f"the package has a file whose name is too long: {e.filename}", malformed=True) from e
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _trim(self, newest: str) -> None:
        kept = [name for name in os.listdir(self._folder) if is_digest(name)]
        if len(kept) <= KEPT_MAX:
            return
        kept.sort(key=lambda name: os.stat(os.path.join(self._folder, name)).st_mtime_ns)
        for name in kept[: len(kept) - KEPT_MAX]:
            if name != newest and name not in self._pins:
                self._roots.pop(name, None)
                with contextlib.suppress(OSError):
                    shutil.rmtree(os.path.join(self._folder, name))


def is_digest(text: str) -> bool:
    """Whether this is a SHA-256 in hexadecimal, lower case."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
