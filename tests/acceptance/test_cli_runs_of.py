"""What is run and how it is said: one task by its reference, labels, older versions, words that are slips, and later words."""

from __future__ import annotations

import re

import pytest
from test_cli_words import Words, number_in, words

__all__ = ["words"]

TASKS = """
from headrace import task

@task
def twice(n: int, text: str = "x") -> str:
    print(f"{n} {text}")
    return 2 * n * text
"""

FREE = """\
name: free
tasks: [{name: a, command: [echo, "${params.priorty ?? \\"none\\"}"]}]
"""


@pytest.fixture(scope="module")
def free(words: Words) -> Words:
    (words.folder / "mytasks.py").write_text(TASKS)
    words("package", "push", "mytasks.py")
    (words.folder / "free.yaml").write_text(FREE)
    words("job", "put", "free.yaml")
    (words.folder / "free.yaml").write_text(FREE + "description: another\n")
    words("job", "put", "free.yaml")
    return words


def test_one_registered_task_is_run_by_its_reference(free: Words) -> None:
    done = free("task", "run", "mytasks:twice", "--n", "2", "-p", "text=ab", "--wait")
    assert "result  " in done.stdout
    view = free.json("task", "run", "mytasks:twice", "--n", "2", "--text", '"8001"', "--label", "team=x", "--wait")
    assert (view["result"], view["params"], view["labels"]) == ("8001" * 4, {"n": 2, "text": "8001"}, {"team": "x"})
    assert "twice │ 3 x" in free("task", "run", "mytasks:twice", "--n=3", "--follow").stdout
    number = number_in(free("task", "run", "mytasks:twice", "--package", "mytasks", "--n", "1", "--key", "k").stdout)
    assert (
        number_in(free("task", "run", "mytasks:twice", "--package", "mytasks", "--n", "1", "--key", "k").stdout)
        == number
    )
    assert ":run/id" in free("task", "--edn", "run", "mytasks:twice", "--n", "1").stdout
    failed = free("task", "run", "mytasks:twice", "--n", "no", "--retries", "0", "--wait", code=1)
    assert "argument 'n'" in failed.stdout
    assert "not a task: no registered package has it" in free("task", "run", "mytasks:thrice", code=2).stderr
    assert "write parameters as" in free("task", "run", "mytasks:twice", "stray", code=2).stderr


def test_a_run_takes_labels_and_an_older_version(free: Words) -> None:
    view = free.json("run", "free", "--version", "1", "--label", "team=x", "--label", "note=a=b", "--wait")
    assert (view["version"], view["labels"], view["params"]) == (1, {"team": "x", "note": "a=b"}, {})
    assert free.json("run", "free", "--wait")["version"] == 2
    assert "version 9" in free("run", "free", "--version", "9", code=3).stderr
    assert free.json("run", "free", "--version", "1", "--dry-run").get("description") is None
    assert free.json("runs", "--label", "team=x")["items"][0]["id"] == view["id"]
    assert "--label team: write it as name=value" in free("run", "free", "--label", "team", code=2).stderr
    assert "saved job" in free("run", "free.yaml", "--version", "1", code=2).stderr
    number = number_in(free("exec", "--label", "team=y", "--wait", "--", "true").stdout)
    assert free.json("show", number)["labels"] == {"team": "y"}


def test_a_parameter_that_looks_like_a_slip_is_told(free: Words) -> None:
    done = free("run", "free", "--priorty", "5", "--wait")
    assert "--priorty is taken as a parameter; did you mean --priority?" in done.stderr
    assert free.json("show", number_in(done.stdout))["params"] == {"priorty": "5"}
    assert free("run", "free", "-p", "priorty=5").stderr == ""
    assert free("run", "free", "--colour", "5").stderr == ""
    declared = free("run", "greet.yaml", "--who", "Ada", "--priorty", "5", code=2)
    assert "--priorty: there is no such parameter (did you mean --priority?)" in declared.stderr


@pytest.mark.parametrize(
    "line",
    [
        "agent --control https://example.test",
        "agent --dial",
        "agent --slots 3 --labels os=linux --code local",
        "agent",
        "agent drain 1",
        "agent --json accept 1",
        "agent resume 1",
        "agent rm 1",
        "exec --image plots:1 -- plot",
        "exec --cpus 2 --memory=1G -- plot",
        "import crontab",
        "import --dry-run crontab",
        "package --json watch .",
        "control --store postgresql://x",
        "schedule ls",
        "approve 1",
        "doctor",
        "--json migrate",
        "run free --local",
        "run free --watch",
    ],
)
def test_words_of_a_later_version_say_so(free: Words, line: str) -> None:
    told = free(*line.split(), code=3).stderr
    assert "not available yet: " in told
    assert "usage" not in told


def test_a_command_may_have_flags_that_are_ours_of_later(free: Words) -> None:
    assert "--cpus" in free("exec", "--follow", "--", "echo", "--cpus").stdout
    assert "--cpus" in free("exec", "--follow", "echo", "--cpus").stdout
    assert "invalid choice" in free("agent", "dance", code=2).stderr
    assert "usage: headrace agent" in free("agent", "--help").stdout


def test_the_version_is_a_flag_too(free: Words) -> None:
    told = free("--version").stdout
    assert re.fullmatch(r"headrace \d+\.\d+\S*\n", told)
    assert told == free("version").stdout
    assert free.json("--version") == free.json("version")
