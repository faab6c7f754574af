"""Folders of attempts: one empty working folder each, removed afterwards, used again when still empty.

Nothing is made before ``make``: an attempt that needs no folder costs none. Must never follow a link out of an
attempt's folder. Called by ``agent.attempts`` and executors.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from headrace.agent.blobs import FileBlobs
from headrace.agent.executors.port import Place
from headrace.link.records import Artifact, Assignment, InputFile
from headrace.model.errors import Invalid

ARTIFACTS_MAX = 10_000
_FREE_MAX = 64
_PARTS = ("files", "inputs", "outputs", "work")


class FilePlace:
    """``Place`` in a real folder."""

    __slots__ = ("_inputs", "_places", "root")

    def __init__(self, places: FilePlaces, inputs: tuple[InputFile, ...]) -> None:
        self._places = places
        self._inputs = inputs
        self.root = ""

    @property
    def work(self) -> str:
        """See ``Place``."""
        return self._root() + "/work"

    @property
    def outputs(self) -> str:
        """See ``Place``."""
        return self._root() + "/outputs"

    @property
    def inputs(self) -> str:
        """See ``Place``."""
        return self._root() + "/inputs"

    @property
    def files(self) -> str:
        """Where result, exit status, parameters and script are."""
        return self._root() + "/files"

    @property
    def result(self) -> str:
        """See ``Place``."""
        return self._root() + "/files/result"

    @property
    def exit_status(self) -> str:
        """See ``Place``."""
        return self._root() + "/files/exit-status"

    def make(self) -> None:
        """See ``Place``."""
        self._root()
        for file in self._inputs:
            self._put(file)
        self._inputs = ()

    def harvest(self, globs: Sequence[str] = ()) -> tuple[Artifact, ...]:
        """See ``Place``."""
        if not self.root:
            return ()
        found = dict(_files(self.outputs))
        if globs:
            for shown, path in _files(self.work):
                if any(_matches(shown, g) for g in globs):
                    found.setdefault(shown, path)
        if len(found) > ARTIFACTS_MAX:
            raise OSError(f"{len(found)} files were left, more than {ARTIFACTS_MAX}")
        return tuple(self._places.blobs.keep_file(path, shown) for shown, path in sorted(found.items()))

    def _root(self) -> str:
        if not self.root:
            self.root = self._places.take()
        return self.root

    def _put(self, file: InputFile) -> None:
        parts = file.path.split("/")
        if not all(parts) or any(p in (".", "..") or "\0" in p for p in parts):
            raise Invalid(f"not a path of an input file: {file.path!r}")
        target = os.path.join(self.inputs, *parts)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        self._places.blobs.copy_to(file.digest, target)


class FilePlaces:
    """``Places`` under one folder."""

    def __init__(self, folder: str, blobs: FileBlobs) -> None:
        self.blobs = blobs
        self._folder = os.path.realpath(folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.makedirs(self._folder, mode=0o700)
        self._free: list[str] = []
        self._n = 0

    def of(self, a: Assignment) -> Place:
        """See ``Places``."""
        return FilePlace(self, a.inputs)

    def take(self) -> str:
        """An empty folder with its four parts."""
        if self._free:
            return self._free.pop()
        self._n += 1
        root = f"{self._folder}/{self._n}"
        os.mkdir(root, 0o700)
        for part in _PARTS:
            os.mkdir(f"{root}/{part}", 0o700)
        return root

    def clear(self, place: Place) -> None:
        """See ``Places``."""
        root = getattr(place, "root", "")
        if not root:
            return
        if len(self._free) < _FREE_MAX and _emptied(root):
            self._free.append(root)
        else:
            shutil.rmtree(root, onerror=_retry)


def _emptied(root: str) -> bool:
    """Whether only the four parts are left, all empty and as they were made; our own files are removed first."""
    try:
        for name in os.listdir(f"{root}/files"):
            os.unlink(f"{root}/files/{name}")
        if len(os.listdir(root)) != len(_PARTS):
            return False
        for part in _PARTS:
            path = f"{root}/{part}"
            mode = os.lstat(path).st_mode
            if not stat.S_ISDIR(mode) or stat.S_IMODE(mode) != 0o700 or os.listdir(path):
                return False
    except OSError:
        return False
    return True


def _retry(function: object, path: str, _error: object) -> None:
    """A folder the attempt made unreadable: open it up and try once more; what still resists is left behind."""
    try:
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700, follow_symlinks=False) if os.path.islink(path) else os.chmod(path, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except (OSError, NotImplementedError):
        return


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """(relative path, path) of the regular files in it; links are neither followed nor kept."""
    stack = [("", folder)]
    while stack:
        prefix, at = stack.pop()
        with os.scandir(at) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                if entry.is_dir():
                    stack.append((f"{prefix}{entry.name}/", entry.path))
                elif entry.is_file():
                    yield prefix + entry.name, entry.path


def _matches(path: str, glob: str) -> bool:
    """Glob over a relative path: ``*`` within one part, ``**`` over any number of parts."""
    return _match(path.split("/"), glob.removeprefix("./").split("/"))


def _match(parts: list[str], globs: list[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(_match(parts[i:], globs[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _match(parts[1:], globs[1:])
