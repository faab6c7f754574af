"""``headrace check DIR``: every definition in the folder, whatever it is written in, and every problem of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.cli.main import main

GOOD = "name: good\ntasks: [{name: a, command: ['true']}]\n"
PYTHON = """\
from headrace import command, job, task

@task
def halve(n: int) -> int:
    return n // 2

@job
def made(n: int = 4) -> int:
    return halve(n)
"""


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(("check", *words))
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "jobs"
    (folder / "deep").mkdir(parents=True)
    (folder / "good.yaml").write_text(GOOD)
    (folder / "deep" / "one.json").write_text('{"name": "one", "tasks": [{"name": "a", "command": ["true"]}]}')
    (folder / "spoken.edn").write_text('#:job{:name "spoken" :tasks [#:task{:name "hello" :command ["echo"]}]}')
    (folder / "made.py").write_text(PYTHON)
    (folder / "plain.py").write_text("raise SystemExit('never imported')\n")
    (folder / "only_tasks.py").write_text("from headrace import task\n\n@task\ndef alone() -> None: ...\n")
    (folder / "package.json").write_text('{"name": "web", "private": true}')
    (folder / "tsconfig.json").write_text("{ // no JSON\n}")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bad.yaml").write_text("tasks: 7\n")
    (folder / ".gitignore").write_text("scratch/\n")
    (folder / "scratch").mkdir()
    (folder / "scratch" / "bad.yml").write_text("tasks: 7\n")
    return folder


def test_every_definition_of_a_folder_is_checked_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = checked(capsys, str(folder))
    assert code == 0, told
    lines = dict(line.rsplit(": ", 1) for line in told.splitlines())
    good = {"deep/one.json", "good.yaml", "made.py", "spoken.edn"}
    assert {name for name, said in lines.items() if said == "ok"} == {str(folder / name) for name in good}
    left_out = {name for name, said in lines.items() if said != "ok"}
    assert left_out == {str(folder / name) for name in ("package.json", "tsconfig.json")}


def test_all_problems_of_all_files_of_a_folder_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "typo.yml").write_text("name: typo\ntaks: [{name: a, command: ['true']}]\n")
    (folder / "two.json").write_text('{"name": "Two", "tasks": [{"name": "a", "comand": ["true"]}]}')
    (folder / "broken.yaml").write_text("tasks: [\n")
    (folder / "broken.py").write_text("import headrace\nimport no_such_library\n")
    code, told = checked(capsys, str(folder), str(folder / "good.yaml"), "--json")
    assert code == 2
    problems = {Path(name).name: found for name, found in json.loads(told)["problems"].items()}
    assert {name for name, found in problems.items() if found} == {"typo.yml", "two.json", "broken.yaml", "broken.py"}
    assert {p["path"] for p in problems["two.json"]} >= {"name", "tasks[0].comand"}
    assert "no_such_library" in problems["broken.py"][0]["message"]
    assert problems["two.json"][0]["line"] == 1


def test_a_folder_without_definitions_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = checked(capsys, str(tmp_path))
    assert code == 2
    assert "there is no definition in this folder" in told
