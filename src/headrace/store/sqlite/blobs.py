"""Blobs as files by digest: written beside, fsynced, renamed, folder fsynced; only then is the digest given.

A row that names a digest is written after that, so no committed row ever names bytes that are not there. Called by
the ledger and the API through ``store.port.Blobs``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial

from headrace.codec.digests import LARGE, hash_of, sha256
from headrace.model.errors import NotFound, StoreError
from headrace.model.ports import Fault
from headrace.store.sqlite.files import Files
from headrace.store.sqlite.offload import Offload

PIECE = 262_144


class FileBlobs:
    """``store.port.Blobs`` in one folder: ``<two hex digits>/<digest>``; ``draft/`` holds what is being written."""

    def __init__(self, folder: str, files: Files, *, offload: Offload, fault: Fault) -> None:
        self._folder = folder
        self._files = files
        self._offload = offload
        self._fault = fault
        self._count = 0
        files.make_folder(f"{folder}/draft")
        for name in files.names(f"{folder}/draft"):
            files.remove(f"{folder}/draft/{name}")

    async def put(self, data: bytes | AsyncIterator[bytes]) -> tuple[str, int]:
        """Keep these bytes; gives (digest, size)."""
        self._count += 1
        draft = f"{self._folder}/draft/{self._count}"
        if isinstance(data, bytes):
            digest, size = sha256(data).hexdigest(), len(data)
            if await self.size(digest) == size:
                return digest, size
            await self._offload.run(lambda: self._files.append(draft, data))
        else:
            digest, size = await self._pour(draft, data)
        await self._offload.run(lambda: self._keep(draft, digest))
        return digest, size

    async def get(self, digest: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a blob; the digest is verified when the whole is read."""
        path = self._path(digest)
        data = await self._offload.run(lambda: self._files.read(path, offset, size))
        if data is None:
            raise NotFound(f"no blob {digest}")
        if offset == 0 and size is None and sha256(data).hexdigest() != digest:
            raise StoreError(f"blob {digest} is damaged: its bytes have another digest")
        return data

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes in pieces; raises StoreError at the end when they were not those of the digest."""
        total = await self.size(digest)
        if total is None:
            raise NotFound(f"no blob {digest}")
        found = hash_of(total)
        for offset in range(0, total, PIECE):
            piece = await self.get(digest, offset=offset, size=PIECE)
            found.update(piece)
            yield piece
        if found.hexdigest() != digest:
            raise StoreError(f"blob {digest} is damaged: its bytes have another digest")

    async def size(self, digest: str) -> int | None:
        """Size in bytes, or None when it is not kept."""
        path = self._path(digest)
        return await self._offload.run(lambda: self._files.size(path))

    async def delete(self, digests: Iterable[str]) -> None:
        """Forget these; harmless for those that are not there."""
        paths = [self._path(digest) for digest in digests]
        for path in paths:
            await self._offload.run(partial(self._files.remove, path))

    async def _pour(self, draft: str, pieces: AsyncIterator[bytes]) -> tuple[str, int]:
        found, size = hash_of(LARGE), 0
        await self._offload.run(lambda: self._files.append(draft, b""))
        async for piece in pieces:
            found.update(piece)
            size += len(piece)
            await self._offload.run(partial(self._files.append, draft, piece))
        return found.hexdigest(), size

    def _keep(self, draft: str, digest: str) -> None:
        path = self._path(digest)
        folder = path.rpartition("/")[0]
        self._fault("blobs.before_fsync")
        self._files.sync(draft)
        self._fault("blobs.after_fsync")
        if self._files.make_folder(folder):
            self._files.sync_folder(self._folder)
        self._fault("blobs.before_rename")
        self._files.move(draft, path)
        self._fault("blobs.after_rename")
        self._files.sync_folder(folder)
        self._fault("blobs.after_keep")

    def _path(self, digest: str) -> str:
        if len(digest) != 64 or not digest.isalnum():
            raise NotFound(f"{digest!r} is no digest")
        return f"{self._folder}/{digest[:2]}/{digest}"
