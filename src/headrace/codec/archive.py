"""Our own bounded reader of zip archives: no links, no traversal, no bombs, nothing but plain files and folders.

Reads bytes and gives names and bytes; never writes. Called by ``codec.scan`` and ``agent.packages``.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator

import msgspec

from headrace.model.errors import Invalid, TooLarge

ARCHIVE_MAX = 50 * 1024 * 1024
TOTAL_MAX = 512 * 1024 * 1024
FILES_MAX = 20_000
RATIO_MAX = 200
RATIO_FREE = 1024 * 1024
"""A member below this size may be as compressible as it likes."""
NAME_MAX = 512
MANIFEST = ".headrace/package.json"
"""``{"roots": [...]}``: folders of the archive that go onto ``sys.path``, in order."""


def open_archive(data: bytes) -> zipfile.ZipFile:
    """The archive, its directory checked as a whole. Raises Invalid or TooLarge."""
    if len(data) > ARCHIVE_MAX:
        raise TooLarge(f"a package may have {ARCHIVE_MAX >> 20} MiB, this one has {len(data) >> 20} MiB")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError) as e:
        raise Invalid(f"the package is not a zip archive: {e}", malformed=True) from e
    members = archive.infolist()
    if len(members) > FILES_MAX:
        raise TooLarge(f"a package may have {FILES_MAX} files, this one has {len(members)}")
    seen: set[str] = set()
    for member in members:
        _check(member)
        plain = member.filename.rstrip("/")
        if plain in seen:
            raise Invalid(f"the package has {plain!r} twice", malformed=True)
        seen.add(plain)
    if sum(m.file_size for m in members) > TOTAL_MAX:
        raise TooLarge(f"a package may have {TOTAL_MAX >> 20} MiB unpacked")
    return archive


def _check(member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = name.rstrip("/").split("/")
    bad = not name or len(name) > NAME_MAX or name.startswith("/") or "\\" in name or "\0" in name or ":" in parts[0]
    if bad or any(part in ("", ".", "..") for part in parts):
        raise Invalid(f"the package has a file with a bad name: {name[:100]!r}", malformed=True)
    mode = member.external_attr >> 16
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        raise Invalid(f"the package has something that is no plain file: {name!r}", malformed=True)
    if member.flag_bits & 1:
        raise Invalid(f"the package has an encrypted file: {name!r}", malformed=True)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Invalid(f"the package has a file in an unknown compression: {name!r}", malformed=True)
    if member.file_size > RATIO_FREE and member.file_size > RATIO_MAX * max(1, member.compress_size):
        raise TooLarge(f"{name!r} grows more than {RATIO_MAX} times when unpacked")


def files(archive: zipfile.ZipFile, suffix: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file, in the order of the archive, never more bytes than its directory entry promised. Raises Invalid."""
    for member in archive.infolist():
        if member.is_dir() or not member.filename.endswith(suffix):
            continue
        try:
            with archive.open(member) as source:
                content = source.read(member.file_size + 1)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as e:
            raise Invalid(f"the package's file {member.filename!r} cannot be read: {e}", malformed=True) from e
        except Exception as e:
            raise Invalid(f"the package's file {member.filename!r} is damaged: {e}", malformed=True) from e
        if len(content) != member.file_size:
            raise Invalid(f"the package's file {member.filename!r} has another size than it says", malformed=True)
        yield member.filename, content


def roots_of(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Folders of the archive for ``sys.path``: by its manifest, else its top and ``src``. Raises Invalid."""
    names = archive.namelist()
    if MANIFEST not in names:
        return ("", "src") if any(n.startswith("src/") for n in names) else ("",)
    try:
        found = msgspec.json.decode(archive.read(MANIFEST), type=dict[str, list[str]])["roots"]
    except (msgspec.DecodeError, KeyError, zipfile.BadZipFile) as e:
        raise Invalid(f"the package's manifest is wrong: {e}", malformed=True) from e
    for root in found:
        if root and any(part in ("", ".", "..") for part in root.split("/")):
            raise Invalid(f"the package's manifest names a bad folder: {root!r}", malformed=True)
    return tuple(found)
