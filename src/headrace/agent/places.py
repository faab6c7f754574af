"""Folders of attempts: one empty working folder each, removed afterwards, used again when still empty.

Nothing is made before ``make``: an attempt that needs no folder costs none. Must never follow a link out of an
attempt's folder. Called by ``agent.attempts`` and executors.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from headrace.agent.blobs import FileBlobs
from headrace.agent.executors.environment import write_file
from headrace.agent.executors.port import Place
from headrace.agent.trash import Trash
from headrace.link.records import Artifact, Assignment, InputFile
from headrace.model.errors import HeadraceError, Invalid

ARTIFACTS_MAX = 10_000
LARGE = 1_048_576
"""Input files of so many bytes together are copied beside the loop."""
MANY = 64
"""So are so many, of whatever size."""
_FREE_MAX = 128
_REST = 32
"""Folders that rest before the first is used again."""

_TICK_NS = 20_000_000
"""Longer than a tick of any kernel's clock for file times."""

_PARTS = ("files", "inputs", "outputs", "work")


class FilePlace(Struct, eq=False):
    """``Place`` in a real folder."""

    places: FilePlaces
    due: tuple[InputFile, ...]
    """Files that ``make`` has still to put there."""
    folder: Folder | None = None
    root: str = ""
    trouble: Exception | None = None
    """What kept ``bring`` from putting them there."""
    left: bool = False

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

    @property
    def params(self) -> str:
        """The parameters as a JSON file."""
        return self._root() + "/files/params.json"

    def make(self) -> None:
        """See ``Place``."""
        self._root()
        if self.trouble is not None:
            raise self.trouble
        for file in self.due:
            self._put(file)
        self.due = ()

    def bring(self) -> asyncio.Future[None] | None:
        """See ``Place``."""
        if len(self.due) < MANY and sum(file.size for file in self.due) < LARGE:
            return None
        try:
            self._root()
        except OSError:
            return None  # whoever makes the place is told
        return asyncio.get_running_loop().run_in_executor(None, self._fill)

    def leave(self) -> None:
        """See ``Place``."""
        self.left = True

    def _fill(self) -> None:
        """In a thread: what goes wrong waits for ``make``."""
        try:
            for file in self.due:
                self._put(file)
                if self.left:
                    return
            self.due = ()
        except (OSError, HeadraceError) as error:
            self.trouble = error

    def harvest(self, globs: Sequence[str] = ()) -> tuple[Artifact, ...]:
        """See ``Place``."""
        if self.folder is None:
            return ()
        found = dict(_files(self.outputs))
        if globs:
            for shown, path in _files(self.work):
                if any(_matches(shown, g) for g in globs):
                    found.setdefault(shown, path)
        if len(found) > ARTIFACTS_MAX:
            raise OSError(f"{len(found)} files were left, more than {ARTIFACTS_MAX}")
        for shown in found:
            if not shown.isprintable() and shown.encode(errors="replace").decode() != shown:
                raise OSError(f"the name of a file that was left is not UTF-8: {shown!r}")
        kept: list[Artifact] = []
        try:
            for shown, path in sorted(found.items()):
                kept.append(self.places.blobs.keep_file(path, shown))
        except OSError:
            # No outcome will name those before it: nobody else would ever let them go.
            self.places.blobs.release(file.digest for file in kept)
            raise
        return tuple(kept)

    def give_params(self, params: bytes) -> None:
        """Write the parameter file, unless it is there as it must be. Raises OSError."""
        self._root()
        assert self.folder is not None
        self.folder.give_params(params)

    def touched(self, part: str) -> bool:
        """False when surely nothing was added, removed or renamed in this part since the place was made."""
        return self.folder is not None and self.folder.touched(part)

    def drop(self) -> Folder:
        """The folder that was made, which is not this place's any more."""
        assert self.folder is not None
        folder, self.folder, self.root = self.folder, None, ""
        return folder

    def _root(self) -> str:
        if self.folder is None:
            self.folder = self.places.take()
            self.root = self.folder.root
        return self.root

    def _put(self, file: InputFile) -> None:
        parts = file.path.split("/")
        if not all(parts) or any(p in (".", "..") or "\0" in p for p in parts):
            raise Invalid(f"not a path of an input file: {file.path!r}")
        target = os.path.join(self.inputs, *parts)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        self.places.blobs.copy_to(file.digest, target, left=lambda: self.left)


class Folder:
    """One folder with its four parts, which attempts use one after another as long as they leave it as it was.

    A change of a directory always moves its ctime, which nobody can set; only within a clock tick of the last change
    could one be missed, so a ctime that young is not believed.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._params = b""
        self._params_stat: tuple[int, int, int] | None = None
        self._taken_at = 0
        os.mkdir(root, 0o700)
        for part in _PARTS:
            os.mkdir(f"{root}/{part}", 0o700)
        self._ctimes = self._read()

    def taken(self) -> None:
        """An attempt begins to use it."""
        self._taken_at = time.time_ns() - _TICK_NS

    def touched(self, part: str) -> bool:
        """See ``FilePlace.touched``."""
        known = self._ctimes[part]
        return known > self._taken_at or os.lstat(f"{self.root}/{part}").st_ctime_ns != known

    def give_params(self, params: bytes) -> None:
        """See ``FilePlace.give_params``."""
        path = f"{self.root}/files/params.json"
        if self._params_stat is not None:
            if params == self._params and self._params_stat == _same(path):
                return
            os.unlink(path)
        write_file(path, params)
        stat_ = _same(path)
        self._params, self._params_stat = params, stat_
        self._ctimes["files"] = os.lstat(f"{self.root}/files").st_ctime_ns

    def reset(self) -> bool:
        """Make it as it was, if that is cheap. False: throw it away."""
        try:
            touched = [part for part in ("", *_PARTS) if self.touched(part)]
            if not touched:
                return True
            if "files" in touched:
                self._clear_files()
            if "" in touched and sorted(os.listdir(self.root)) != list(_PARTS):
                return False
            if not all(self._is_empty(part) for part in ("inputs", "outputs", "work") if part in touched):
                return False
            self._ctimes = self._read()
        except OSError:
            return False
        return True

    def _clear_files(self) -> None:
        for name in os.listdir(f"{self.root}/files"):
            if name != "params.json" or self._params_stat != _same(f"{self.root}/files/params.json"):
                os.unlink(f"{self.root}/files/{name}")
                if name == "params.json":
                    self._params_stat = None

    def _is_empty(self, part: str) -> bool:
        mode = os.lstat(f"{self.root}/{part}").st_mode
        return stat.S_ISDIR(mode) and stat.S_IMODE(mode) == 0o700 and not os.listdir(f"{self.root}/{part}")

    def _read(self) -> dict[str, int]:
        return {part: os.lstat(f"{self.root}/{part}").st_ctime_ns for part in ("", *_PARTS)}


def _same(path: str) -> tuple[int, int, int] | None:
    """What tells that a file is the one it was; None when it is gone."""
    try:
        s = os.lstat(path)
    except FileNotFoundError:
        return None
    return s.st_ino, s.st_ctime_ns, s.st_size


class FilePlaces:
    """``Places`` under one folder."""

    def __init__(self, folder: str, blobs: FileBlobs) -> None:
        self.blobs = blobs
        self._folder = os.path.realpath(folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.makedirs(self._folder, mode=0o700)
        self._free: deque[Folder] = deque()
        self._trash = Trash()
        self._n = 0

    def of(self, a: Assignment) -> Place:
        """See ``Places``."""
        return FilePlace(self, a.inputs)

    def take(self) -> Folder:
        """An empty folder with its four parts: the one that has rested longest, so that its times are old."""
        if len(self._free) >= _REST:
            folder = self._free.popleft()
        else:
            self._n += 1
            folder = Folder(f"{self._folder}/{self._n}")
        folder.taken()
        return folder

    def clear(self, place: Place) -> None:
        """See ``Places``."""
        if not isinstance(place, FilePlace) or place.folder is None:
            return
        folder = place.drop()
        if len(self._free) < _FREE_MAX and folder.reset():
            self._free.append(folder)
        else:
            self._trash.take(folder.root)


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
