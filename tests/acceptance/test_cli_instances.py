"""Instances of a task on the command line and in the client: ``part[1]`` names one; files of several never meet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli_words import Words, number_in, words

from headrace.cli.artifacts import places
from headrace.model.errors import Invalid
from headrace.model.views import ArtifactView

__all__ = ["words"]

PARTS = """\
name: parts
tasks:
  - name: part
    each: [a, b, c]
    command: [sh, -c, 'echo "$0" > out.csv; echo "I am $0"', "${item}"]
    outputs: [out.csv]
  - name: whole
    command: [sh, -c, "mkdir deep; echo all > deep/out.csv; echo all > out.csv"]
    outputs: ["**/*.csv"]
"""


@pytest.fixture(scope="module")
def number(words: Words) -> str:
    (words.folder / "parts.yaml").write_text(PARTS)
    return number_in(words("run", "parts.yaml", "--wait").stdout)


def test_files_of_tasks_and_instances_with_one_name_are_all_saved(words: Words, number: str) -> None:
    told = words("artifacts", number, "-o", "out").stdout
    assert "saved 5 files to out" in told
    saved = {str(p.relative_to(words.folder / "out")): p.read_text() for p in (words.folder / "out").rglob("*.csv")}
    assert saved == {
        "part/0/out.csv": "a\n",
        "part/1/out.csv": "b\n",
        "part/2/out.csv": "c\n",
        "whole/out.csv": "all\n",
        "whole/deep/out.csv": "all\n",
    }
    words("artifacts", number, "part[2]", "-o", "one")
    assert [p.name for p in (words.folder / "one").iterdir()] == ["part"]
    assert [a["index"] for a in words.json("artifacts", number, "part")] == [0, 1, 2]


def test_a_link_in_the_folder_leads_nothing_out_of_it(words: Words, number: str, tmp_path: Path) -> None:
    (words.folder / "linked").mkdir()
    (words.folder / "linked" / "whole").symlink_to(tmp_path)
    assert "outside" in words("artifacts", number, "-o", "linked", code=2).stderr
    assert not list(tmp_path.iterdir())
    assert not (words.folder / "linked" / "part").exists(), "nothing is saved where one cannot be"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../../x", "..", "", "x\0y", "../part/0/y"])
def test_a_hostile_path_stays_in_the_folder_of_its_task(tmp_path: Path, path: str) -> None:
    files = [ArtifactView(task="t", path=path, size=1, digest="")]
    with pytest.raises(Invalid, match=r"outside|twice|name"):
        places(tmp_path, files)


def test_two_files_never_take_one_place(tmp_path: Path) -> None:
    files = [ArtifactView(task="t", path=path, size=1, digest="") for path in ("a/b", "a//b")]
    with pytest.raises(Invalid, match="twice"):
        places(tmp_path, files)


def test_an_instance_is_named_as_logs_name_it(words: Words, number: str) -> None:
    assert words("logs", number, "part[1]", "--stream", "stdout").stdout == "I am b\n"
    assert {r["index"] for r in words.json("logs", number, "part[1]")} == {1}
    assert json.loads(words("show", number, "part[1]", "--json").stdout)["label"] is None
    shown = words("show", number, "part[1]").stdout
    assert "part[1]" in shown
    assert "succeeded" in shown
    assert "part[0]" in words("show", number, "part").stdout
    for wrong in ("part[9]", "part[x]", "prat[1]", "part[-1]"):
        assert words("logs", number, wrong, code=3).stderr.startswith("error: ")
    assert "did you mean 'part'?" in words("logs", number, "prat[1]", code=3).stderr


def test_the_client_takes_an_instance_by_index_and_by_name(words: Words, number: str) -> None:
    run = words.server.ask(lambda c: c.runs.get(int(number)))
    assert [r.text for r in run.logs("part", 1, stream="stdout")] == ["I am b\n"]
    assert [r.text for r in run.logs("part[1]", stream="stdout")] == ["I am b\n"]
