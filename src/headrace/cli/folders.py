"""The data folder, before anything is done in it: a person is told what is wrong with it. Called by ``up`` and ``run``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from headrace.model.errors import Refused


def writable(folder: Path) -> None:
    """Make the data folder, if it is not there. Raises Refused, saying what is wrong with it and how to choose another."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        what = "is a file" if folder.is_file() else e.strerror
        raise Refused(
            f"the data folder {folder} cannot be written: {what}; choose another with --data DIR or HEADRACE_DATA"
        ) from e
