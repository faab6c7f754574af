"""Words that keep definitions and the whole store, against a real server: versions, packages, export, backup, restore."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from test_cli_words import HEADRACE, Words, words

from harness import serving, until

__all__ = ["words"]


def test_a_job_goes_and_comes_back_and_tells_what_it_was(words: Words) -> None:
    (words.folder / "kept.json").write_text('{"name": "kept", "tasks": [{"name": "a", "command": ["true"]}]}')
    words("job", "put", "kept.json")
    words.folder.joinpath("kept.json").write_text(
        '{"name": "kept", "description": "b", "tasks": [{"name": "a", "command": ["true"]}]}'
    )
    assert words("job", "put", "kept.json").stdout == "job kept version 2\n"
    assert words("job", "diff", "kept").stdout == 'job kept, version 1 to 2\n+ description: "b"\n'
    assert "headrace job restore kept" in words("job", "rm", "kept", "--reason", "tidy").stdout
    refused = words("run", "kept", code=3)
    assert "headrace job restore kept" in refused.stderr
    assert [j["name"] for j in words.json("job", "ls", "--deleted")["items"]] == ["kept"]
    assert words("job", "restore", "kept", "--version", "1").stdout == "job kept version 4, as version 1 was\n"
    told = words.json("job", "versions", "kept")["items"]
    assert [v["change"] for v in told] == ["restored", "deleted", "saved", "saved"]
    assert "tidy" in words("job", "versions", "kept").stdout


def test_a_job_may_be_put_before_its_tasks(words: Words) -> None:
    (words.folder / "early.json").write_text('{"name": "early", "tasks": [{"name": "a", "python": "late:work"}]}')
    assert "late:work" in words("job", "put", "early.json", code=2).stderr
    assert "waits for: late:work" in words("job", "put", "early.json", "--allow-missing").stdout
    assert "waits for: late:work" in words("run", "early", code=3).stderr
    (words.folder / "late.py").write_text("from headrace import task\n\n@task\ndef work() -> int:\n    return 1\n")
    words("package", "push", "late.py")
    assert "succeeded" in words("run", "early", "--wait").stdout


def test_a_package_goes_back_and_is_taken_back(words: Words) -> None:
    code = words.folder / "turns.py"
    code.write_text(
        "from headrace import job, task\n\n@task\ndef one() -> int:\n    return 1\n\n@job\ndef flow() -> int:\n    return one()\n"
    )
    first = words.json("package", "push", "turns.py")["digest"]
    code.write_text(code.read_text() + "# changed\n")
    assert "job flow saved" in words("package", "push", "turns.py:flow").stdout
    assert first[:12] in words("package", "rollback", "turns").stdout
    assert [v["version"] for v in words.json("package", "versions", "turns")["items"]] == [3, 2, 1]
    assert "job flow" in words("package", "rm", "turns", code=3).stderr
    words("job", "rm", "flow")
    assert words("package", "rm", "turns").stdout == "package turns is taken back\n"
    assert "turns" not in words("package", "ls").stdout


def test_definitions_go_out_and_come_in(words: Words) -> None:
    words("job", "put", "one.json")
    document = json.loads(words("export").stdout)
    assert "one" in [job["name"] for job in document["jobs"]]
    words("export", "all.json")
    assert "job one: unchanged" in words("import", "all.json").stdout
    words("export", "all.edn")
    assert "nothing was written" in words("import", "all.edn", "--dry-run").stdout
    (words.folder / "more.yaml").write_text("jobs:\n- name: more\n  tasks: [{name: a, comand: [x]}]\n")
    refused = words("import", "more.yaml", code=2)
    assert "jobs[0].tasks[0].comand" in refused.stderr
    assert "line 3" in refused.stderr


def test_help_of_run_tells_the_parameters_of_the_job(words: Words) -> None:
    told = words("run", "greet.yaml", "--help").stdout
    assert "--who STRING" in told
    assert "required" in told
    assert "--follow" in told
    assert "--n INTEGER" in words("run", "code.py:halve", "-h").stdout
    assert "--follow" in words("run", "--help").stdout
    assert "say what to run" in words("run", code=2).stderr


def test_a_project_begins_and_the_shell_completes(words: Words, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert "headrace run hello.yaml" in words("init", str(folder)).stdout
    assert words("check", str(folder / "hello.yaml"), str(folder / "hello.py")).stdout.count(": ok") == 2
    (folder / "hello.py").write_text("mine")
    assert "everything is there already" in words("init", str(folder)).stdout
    assert (folder / "hello.py").read_text() == "mine"
    script = words("completion", "bash").stdout
    check = f"{script}\nCOMP_WORDS=(headrace job re); COMP_CWORD=2; _headrace; echo ${{COMPREPLY[@]}}"
    assert subprocess.run(["bash", "-c", check], capture_output=True, text=True, check=True).stdout == "restore\n"
    for shell in ("zsh", "fish"):
        assert "versions" in words("completion", shell).stdout


def test_a_schema_is_installed_beside_the_editors_own_settings(words: Words) -> None:
    folder = words.folder / ".vscode"
    folder.mkdir()
    (folder / "settings.json").write_text('{"editor.tabSize": 3}')
    for _ in range(2):
        words("schema", "job", "--install", "vscode")
    known = json.loads((folder / "settings.json").read_text())
    assert known["editor.tabSize"] == 3
    assert [one["url"] for one in known["json.schemas"]] == ["./.vscode/headrace-job.schema.json"]
    assert "$schema" in json.loads((folder / "headrace-job.schema.json").read_text())
    (folder / "settings.json").write_text("{ // mine\n}")
    assert "by hand" in words("schema", "job", "--install", "vscode", code=2).stderr


def test_config_tells_what_happens_where_nothing_is_set(words: Words) -> None:
    rows = words.json("config")
    assert rows["port"] == {"value": 8420, "origin": "default"} or rows["port"]["origin"] == "environment"
    assert all(
        row["value"] for name, row in rows.items() if name in ("url", "token", "data", "store", "host", "workers")
    )


def test_a_backup_is_fetched_checked_and_restored_elsewhere(words: Words, tmp_path: Path) -> None:
    words("job", "put", "one.json")
    number = words.json("run", "one", "--wait")["id"]
    file = str(tmp_path / "a.hrb")
    assert "everything up to" in words("backup", file).stdout
    assert words.json("backup", "--list")["items"] == []
    assert "there is a file" in words("backup", file, code=3).stderr
    assert "is whole and good" in words("backup", "--verify", file).stdout
    cut = tmp_path / "cut.hrb"
    cut.write_bytes(Path(file).read_bytes()[:9000])
    assert "cut.hrb is " in words("backup", "--verify", str(cut), code=2).stderr
    assert "stop it first" in words("restore", file, code=3).stderr
    elsewhere = tmp_path / "elsewhere"
    assert "incarnation" in words("restore", file, "--data", str(elsewhere)).stdout
    assert "restore into an empty folder" in words("restore", file, "--data", str(elsewhere), code=3).stderr
    with serving(elsewhere) as server:
        there = Words(server, words.folder)
        assert there.json("show", str(number))["state"] == "succeeded"
        assert there.json("run", "one", "--wait")["id"] > 10_000_000
    offline = str(tmp_path / "offline.hrb")
    assert "everything up to" in words("backup", offline, "--data", str(elsewhere)).stdout


def test_the_server_begins_anew_with_a_backup(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        own = Words(server, tmp_path)
        (tmp_path / "one.json").write_text('{"name": "one", "tasks": [{"name": "a", "command": ["true"]}]}')
        own("job", "put", "one.json")
        name = own.json("backup")["name"]
        own("job", "rm", "one")
        assert "set them aside" in own("restore", name, "--server", code=3).stderr
        assert "begins anew" in own("restore", name, "--server", "--force").stdout
        command = [HEADRACE, "--data", str(server.data), "job", "ls"]
        until(
            lambda: (
                "one" in subprocess.run(command, env=server.environ, capture_output=True, text=True, check=False).stdout
            )
        )
        assert "succeeded" in own("run", "one", "--wait").stdout


@pytest.mark.parametrize("word", ["doctor", "migrate"])
def test_what_comes_later_says_so(words: Words, word: str) -> None:
    assert "not available yet" in words(word, code=3).stderr
