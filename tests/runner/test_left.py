"""Files that work may have written anything to: read within bounds, links never followed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from headrace.runner import left
from headrace.runner.left import EXIT_STATUS_MAX, exit_status_in, result_in
from headrace.runner.variables import ONE_MAX, parameters


def test_an_exit_status_is_a_short_text_of_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "said"
    assert exit_status_in(str(path)) is None
    for data, text in (
        (b"NO_DATA\n", "NO_DATA"),
        (b" \n", None),
        (b"\xff", "\ufffd"),
        (b"x" * 9999, "x" * EXIT_STATUS_MAX),
    ):
        path.write_bytes(data)
        assert exit_status_in(str(path)) == text
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert exit_status_in(str(path)) is None
    path.unlink()
    os.mkfifo(path)
    assert exit_status_in(str(path)) is None


def test_a_result_is_json_within_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result"
    assert result_in(str(path)) == (None, "")
    path.write_bytes(b' {"n": 1}\n')
    assert result_in(str(path)) == (b'{"n": 1}', "")
    for bad in (b"{", b"NaN", b"[" * 100_000):
        path.write_bytes(bad)
        data, problem = result_in(str(path))
        assert data is None
        assert "does not hold JSON" in problem
    monkeypatch.setattr(left, "RESULT_MAX", 10)
    path.write_bytes(b"[1,2,3,4,5,6]")
    assert result_in(str(path)) == (None, "the result is larger than 10 bytes")


def test_parameters_are_texts_or_json_under_names_that_a_shell_knows() -> None:
    given = b'{"day":"2026-03-29","top-n":5,"x.y":[1,{"a":null}],"nul":"a\\u0000b","\\u00fc":true}'
    assert parameters(given) == {
        "HEADRACE_PARAM_DAY": "2026-03-29",
        "HEADRACE_PARAM_TOP_N": "5",
        "HEADRACE_PARAM_X_Y": '[1,{"a":null}]',
        "HEADRACE_PARAM_NUL": "ab",
        "HEADRACE_PARAM__": "true",
    }
    assert parameters(b"{}") == {}
    assert parameters(b"[1,2]") == {}


def test_what_no_environment_can_hold_is_left_out_and_all_else_starts() -> None:
    largest = ONE_MAX - len("HEADRACE_PARAM_A=")
    for size, there in ((largest, True), (largest + 1, False)):
        found = parameters(msgspec.json.encode({"a": "x" * size, "b": "ü" * 70_000, "c": 1}))
        assert set(found) == ({"HEADRACE_PARAM_A", "HEADRACE_PARAM_C"} if there else {"HEADRACE_PARAM_C"})
        subprocess.run(["true"], env=found, check=True)
    many = parameters(msgspec.json.encode({f"p{n}": "x" * 100_000 for n in range(50)}))
    assert list(many) == [f"HEADRACE_PARAM_P{n}" for n in range(5)]
    subprocess.run(["true"], env=many, check=True)
