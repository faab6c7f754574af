"""The quick answer whether a folder was left alone: never a wrong yes."""

from __future__ import annotations

import os
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


def _followed(folder: Path) -> tuple[Watch, Path]:
    file = folder / "f"
    file.write_text("x")
    watch = Watch()
    assert watch.opened
    watch.follow(str(file))
    assert not watch.opened
    return watch, file


def test_what_we_write_to_the_followed_file_is_ours_and_quiet(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with file.open("wb", buffering=0) as ours:
        watch = Watch()
        watch.follow(str(file))
        ours.write(b"one")
        watch.own()
        assert (watch.opened, watch.quiet()) == (False, True)


def test_whoever_opens_or_truncates_the_followed_file_is_noticed(tmp_path: Path) -> None:
    watch, file = _followed(tmp_path)
    file.read_text()
    watch.own()
    assert watch.opened
    watch, file = _followed(tmp_path)
    os.truncate(file, 0)
    assert not watch.quiet()
    watch.forget()
    assert watch.opened


def test_what_happened_elsewhere_meanwhile_is_not_taken_for_our_own(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    watch, _ = _followed(tmp_path)
    watch.add(str(folder))
    (folder / "new").write_text("x")
    watch.own()
    assert not watch.quiet()
    assert not watch.calm()
    watch.forget()
    assert watch.quiet()
