"""What attempts leave behind is gone from its place at once, and removed beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.agent import trash
from headrace.agent.trash import Trash


class Watched:
    """``remove``, which waits until the test lets it go on, and says who called it."""

    def __init__(self, real: Callable[[str], None]) -> None:
        self._real = real
        self.go = threading.Event()
        self.removed: list[tuple[str, bool]] = []
        self.over = threading.Semaphore(0)

    def __call__(self, folder: str) -> None:
        here = threading.current_thread() is threading.main_thread()
        assert here or self.go.wait(20)
        self._real(folder)
        self.removed.append((folder, here))
        self.over.release()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched(trash.remove)
    monkeypatch.setattr(trash, "remove", made)
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full(path: Path) -> str:
    (path / "work" / "deep").mkdir(parents=True)
    (path / "work" / "deep" / "file").write_text("x")
    return str(path)


def test_a_folder_is_gone_at_once_and_removed_in_a_thread(tmp_path: Path, watched: Watched) -> None:
    Trash().take(full(tmp_path / "1"))
    assert names(tmp_path) == ["1.gone"]
    watched.go.set()
    assert watched.over.acquire(timeout=20)
    assert (watched.removed, names(tmp_path)) == ([(str(tmp_path / "1.gone"), False)], [])


def test_attempts_that_leave_folders_faster_than_they_are_removed_wait_for_it(tmp_path: Path, watched: Watched) -> None:
    bin_, most = Trash(), 64
    for number in range(most + 3):
        bin_.take(full(tmp_path / str(number)))
    # One is with the thread, as many as may wait are waiting.
    at_once = [folder for folder, here in watched.removed if here]
    assert 2 <= len(at_once) <= 3
    watched.go.set()
    for _ in range(most + 3):
        assert watched.over.acquire(timeout=20)
    assert names(tmp_path) == []


def test_what_an_attempt_made_unreadable_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    kept = Path(full(tmp_path / "kept"))
    folder = Path(full(tmp_path / "1"))
    (folder / "link").symlink_to(kept)
    (folder / "work" / "deep").chmod(0)
    (folder / "work").chmod(0o500)
    trash.remove(str(folder))
    assert names(tmp_path) == ["kept"]
    assert (kept / "work" / "deep" / "file").read_text() == "x"
