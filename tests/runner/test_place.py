"""Where calls run: each sees its own variables and files, and nothing of the call before it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.runner.place import Grounds
from headrace.runner.protocol import Call, kept_path


@pytest.fixture
def grounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grounds]:
    """Grounds in this very process; folder and environment are put back."""
    before, here = dict(os.environ), os.getcwd()
    try:
        yield Grounds(str(tmp_path / "scratch"))
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def call(id: int = 1, params: dict[str, Any] | None = None, **more: Any) -> Call:
    given = {
        "run": 3,
        "index": -1,
        "epoch": 8,
        "attempt": 2,
        "task": "t",
        "job": "j",
        "token": "tok",
        "url": "http://x",
    }
    return Call(id, "flow:a", b"{}", params=msgspec.json.encode(params or {}), **{**given, **more})


def test_a_call_sees_every_variable_of_the_contract(grounds: Grounds) -> None:
    grounds.enter(call(params={"day": "2026-03-29", "n": 3}))
    seen = {name[9:]: os.environ[name] for name in os.environ if name.startswith("HEADRACE_")}
    assert (seen["RUN"], seen["EPOCH"]) == ("3", "8")
    assert (seen["TASK"], seen["JOB"], seen["ATTEMPT"]) == ("t", "j", "2")
    assert (seen["URL"], seen["TOKEN"]) == ("http://x", "tok")
    assert (seen["PARAM_DAY"], seen["PARAM_N"]) == ("2026-03-29", "3")
    assert msgspec.json.decode(Path(seen["PARAMS"]).read_bytes()) == {"day": "2026-03-29", "n": 3}
    for name in ("INPUTS", "OUTPUTS"):
        assert os.listdir(seen[name]) == []
    assert os.getcwd() == os.path.join(os.path.dirname(seen["OUTPUTS"]), "work")
    for name in ("RESULT", "EXIT_STATUS"):
        assert not os.path.exists(seen[name])
        Path(seen[name]).write_text("1")


def test_parameters_of_one_call_are_gone_in_the_next(grounds: Grounds) -> None:
    for id, params in enumerate(({"a": 1, "b": 2}, {"b": 3}, {}, {"c": "x"}, {"c": "longer"}, {"c": ""}, {})):
        grounds.enter(call(id, params))
        seen = {name: os.environ[name] for name in os.environ if name.startswith("HEADRACE_PARAM_")}
        assert seen == {f"HEADRACE_PARAM_{k.upper()}": str(v) for k, v in params.items()}
        assert msgspec.json.decode(Path(os.environ["HEADRACE_PARAMS"]).read_bytes()) == params
        grounds.leave(call(id, params))


@pytest.mark.parametrize("how", ["overwritten", "truncated", "removed", "replaced", "mode"])
def test_whoever_writes_to_the_parameter_file_changes_nothing_for_the_next_call(grounds: Grounds, how: str) -> None:
    one = call(params={"a": 1})
    grounds.enter(one)
    path = Path(os.environ["HEADRACE_PARAMS"])
    if how == "overwritten":
        path.write_text("{}")
    elif how == "truncated":
        os.truncate(path, 0)
    elif how == "mode":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.unlink()
        if how == "replaced":
            path.symlink_to("/etc/hostname")
    grounds.leave(one)
    grounds.enter(one)
    assert not path.is_symlink()
    assert path.read_bytes() == b'{"a":1}'


def test_whoever_keeps_the_parameter_file_open_changes_nothing_for_any_later_call(grounds: Grounds) -> None:
    one = call(params={"a": 1})
    grounds.enter(one)
    path = Path(os.environ["HEADRACE_PARAMS"])
    with path.open("r+b", buffering=0) as kept, mmap.mmap(kept.fileno(), 7) as mapped:
        grounds.leave(one)
        for change in (lambda: kept.write(b"x"), lambda: mapped.__setitem__(0, 120)):
            grounds.enter(one)
            assert path.read_bytes() == b'{"a":1}'
            change()
            grounds.leave(one)
        grounds.enter(one)
        assert path.read_bytes() == b'{"a":1}'


def test_the_tasks_own_variables_come_before_ours_and_go_with_the_call(grounds: Grounds) -> None:
    own = {"HEADRACE_RUN": "999", "HEADRACE_RESULT": "/etc/passwd", "HEADRACE_PARAM_A": "no", "PATH": "/mine", "X": "1"}
    grounds.enter(call(params={"a": 1}, env=own))
    assert (os.environ["HEADRACE_RUN"], os.environ["HEADRACE_PARAM_A"]) == ("3", "1")
    assert os.environ["HEADRACE_RESULT"].endswith("/files/result")
    assert (os.environ["PATH"], os.environ["X"]) == ("/mine", "1")
    grounds.leave(call(params={"a": 1}, env=own))
    grounds.enter(call(2, {"a": 1}))
    assert "X" not in os.environ
    assert os.environ["PATH"] != "/mine"


def test_what_a_call_changed_is_as_it_was_for_the_next(grounds: Grounds) -> None:
    grounds.enter(call())
    Path("left.txt").write_text("x")
    os.environ["LEFT"] = "x"
    os.environ["HEADRACE_RUN"] = "wrong"
    os.chdir("/")
    assert grounds.leave(call()) is False
    grounds.enter(call(2))
    assert os.listdir(".") == []
    assert "LEFT" not in os.environ
    assert os.environ["HEADRACE_RUN"] == "3"


def test_outputs_are_kept_for_the_agent_and_the_next_call_has_an_empty_folder(grounds: Grounds) -> None:
    grounds.enter(call(7))
    outputs = Path(os.environ["HEADRACE_OUTPUTS"])
    (outputs / "a.txt").write_text("a")
    assert grounds.leave(call(7)) is True
    assert os.listdir(kept_path(str(outputs.parent), 7)) == ["a.txt"]
    assert os.listdir(outputs) == []


def test_a_call_with_folders_of_its_own_is_put_there(grounds: Grounds, tmp_path: Path) -> None:
    for name in ("w", "o", "i"):
        (tmp_path / name).mkdir()
    own = call(work=str(tmp_path / "w"), outputs=str(tmp_path / "o"), inputs=str(tmp_path / "i"))
    grounds.enter(own)
    assert os.getcwd() == str(tmp_path / "w")
    assert (os.environ["HEADRACE_OUTPUTS"], os.environ["HEADRACE_INPUTS"]) == (own.outputs, own.inputs)
    assert (grounds.folder(own, "outputs"), grounds.folder(own, "inputs")) == (own.outputs, own.inputs)
    grounds.leave(own)
    grounds.enter(call(2))
    assert os.environ["HEADRACE_OUTPUTS"] != own.outputs


def test_what_was_written_to_our_files_is_told_once(grounds: Grounds) -> None:
    grounds.enter(call())
    Path(os.environ["HEADRACE_RESULT"]).write_text('{"n":1}')
    Path(os.environ["HEADRACE_EXIT_STATUS"]).write_text("EMPTY\n")
    grounds.leave(call())
    assert (grounds.wrote, grounds.said, grounds.result, grounds.bad) == (True, "EMPTY", b'{"n":1}', "")
    grounds.enter(call(2))
    assert not os.path.exists(os.environ["HEADRACE_RESULT"])
    grounds.leave(call(2))
    assert not grounds.wrote
