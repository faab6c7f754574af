"""The quick answer whether a folder was left alone: never a wrong yes."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.runner.watch import Watch


def _watched(folder: Path) -> Watch:
    watch = Watch()
    watch.add(str(folder))
    assert watch.quiet()
    return watch


def test_a_file_made_removed_or_renamed_is_noticed_at_once(tmp_path: Path) -> None:
    watch = _watched(tmp_path)
    (tmp_path / "a").write_text("x")
    assert not watch.quiet()
    watch.forget()
    assert watch.quiet()
    (tmp_path / "a").rename(tmp_path / "b")
    assert not watch.quiet()
    watch.forget()
    (tmp_path / "b").unlink()
    assert not watch.quiet()


def test_a_folder_made_is_noticed_and_one_of_several_is_enough(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    watch = _watched(first)
    watch.add(str(second))
    (second / "deep").mkdir()
    assert not watch.quiet()


def test_where_a_folder_cannot_be_watched_the_answer_is_perhaps(tmp_path: Path) -> None:
    watch = Watch()
    watch.add(str(tmp_path / "nothing"))
    assert not watch.quiet()
    watch.forget()
    assert not watch.quiet()


def test_without_inotify_the_answer_is_perhaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.runner.watch.ctypes.CDLL", lambda _: object())
    assert not Watch().quiet()
