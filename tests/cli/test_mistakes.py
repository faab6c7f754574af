"""What people get wrong is told with where, what, and how to mend it; no traceback of ours is among it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli import targets
from headrace.cli.folders import writable
from headrace.cli.main import main
from headrace.cli.numbers import run_id
from headrace.model.errors import Invalid, Refused


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    try:
        code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("up", "--port", "99999"), "not 99999"),
        (("up", "--workers=-1", "--port", "0"), "--workers -1: a whole number from 0 to"),
        (("show", "abc"), "a run is called by its number, not 'abc'; headrace runs lists them"),
        (
            ("up", "--data", "/dev/null/x", "--port", "0"),
            "the data folder /dev/null/x cannot be written: Not a directory; ",
        ),
        (("runs", "--limit", "0"), "a whole number from 1 on, not '0'"),
        (("events", "--limit=-3"), "a whole number from 1 on, not '-3'"),
        (("package", "push", "no/such/folder"), "there is no file or folder 'no/such/folder'"),
        (("run", "/"), "/ is a folder: name a definition file in it"),
        (("run", "hello.txt"), "there is no file 'hello.txt'"),
    ],
)
def test_wrong_words_are_told_how_to_be_right(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = said(capsys, *words)
    assert code in (2, 3)
    assert sentence in told
    assert "Traceback" not in told


def test_a_python_file_that_cannot_be_imported_is_told_with_the_error_and_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "needs_it.py"
    file.write_text("import no_such_library\n")
    code, told = said(capsys, "check", str(file))
    assert code == 2
    assert "No module named 'no_such_library'; to install it for this Python: " in told
    assert "(line 1)" in told
    with pytest.raises(Invalid, match="-m pip install"):
        targets.read(f"{file}:job")


def test_a_data_folder_that_is_a_file_or_cannot_be_written_is_told_with_the_flag(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Refused, match=r"is a file; choose another with --data DIR"):
        writable(file)
    writable(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "new").iterdir())


def test_a_parameter_without_its_value_is_told_by_its_flag() -> None:
    schema = {"properties": {"text": {"type": "string"}, "loud": {"type": "boolean"}}}
    assert targets.parameters(["--loud"], [], schema) == {"loud": True}
    with pytest.raises(Invalid) as caught:
        targets.parameters(["--text"], [], schema)
    assert [str(problem) for problem in caught.value.problems] == ["--text: its value is missing: --text STRING"]


def test_a_run_is_called_by_its_number() -> None:
    assert run_id("12") == 12
