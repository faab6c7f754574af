"""What attempts left behind in their folders, removed beside the loop: 100,000 files take seconds, and others are waiting.

Gone from their place at once. What is not removed when this process ends, the next life of the agent removes. Must never
follow a link. Called by ``agent.places``.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading

_WAITING_MAX = 64
"""With so many folders waiting, the next is removed while everybody waits: attempts must not fill the disk faster."""


class Trash:
    """Removes folders one after the other, in a thread that is there from the first one on."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def take(self, folder: str) -> None:
        """Remove this folder, whatever is in it."""
        gone = f"{folder}.gone"
        try:
            os.rename(folder, gone)
        except OSError:
            gone = folder
        if self._queue.qsize() >= _WAITING_MAX:
            remove(gone)
            return
        self._queue.put(gone)
        if self._thread is None:
            # A daemon, so that nobody waits for it at the end.
            self._thread = threading.Thread(target=self._work, name="trash", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            remove(self._queue.get())


def remove(folder: str) -> None:
    """Remove all of it that can be removed."""
    shutil.rmtree(folder, onerror=_retry)


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
