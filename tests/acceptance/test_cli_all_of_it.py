"""What the API can do the command line can: amend, disable, patch, reasons, statistics of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from test_cli_words import PY, Words, number_in, words

__all__ = ["words"]


@pytest.fixture
def waiting(words: Words) -> Iterator[str]:
    """A run that waits for its time."""
    (words.folder / "phases.yaml").write_text(
        "name: phases\nphases: [load, check]\nlabels: {team: a, old: x}\ntasks: [{name: a, command: ['true']}]\n"
    )
    number = number_in(words("run", "phases.yaml", "--delay", "1h").stdout)
    yield number
    words("abandon", number)


def test_a_run_is_amended(words: Words, waiting: str) -> None:
    line = ("--priority", "7", "--label", "team=b", "--label", "old=", "--phase", "check", "--message", "half of it")
    view = words.json("amend", waiting, *line)
    assert (view["priority"], view["labels"], view["phase"], view["message"]) == (
        7,
        {"team": "b"},
        "check",
        "half of it",
    )
    assert words("amend", waiting, "--priority", "0").stdout == f"run {waiting} queued\n"
    assert words.json("show", waiting)["labels"] == {"team": "b"}
    assert "did you mean 'check'?" in words("amend", waiting, "--phase", "chek", code=2).stderr
    assert "say what is to be changed" in words("amend", waiting, code=2).stderr
    assert "--label x: write it as name=value" in words("amend", waiting, "--label", "x", code=2).stderr


def test_a_restart_takes_priority_labels_and_typed_parameters(words: Words) -> None:
    (words.folder / "code.py").write_text(PY)
    old = number_in(words("run", "code.py:halve", "--n", "3", "--label", "a=1", "--wait", code=1).stdout)
    new = words.json("restart", old, "-p", "n=8", "--from", "start", "--priority", "3", "--label", "b=2", "--wait")
    assert (new["result"], new["priority"], new["labels"]) == (4, 3, {"a": "1", "b": "2"})


def test_users_are_shown_and_shut_out_and_tokens_made_for_them(words: Words) -> None:
    with words.server.ask(lambda c: c) as client:
        client.users.put("eva", role="operator", description="from the bank")
    assert "from the bank" in words("user", "show", "eva").stdout
    assert words.json("user", "show", "eva")["role"] == "operator"
    made = words("token", "create", "hers", "--user", "eva", "--role", "operator").stdout.strip()
    assert words("me", HEADRACE_TOKEN=made).stdout.startswith("token hers, operator, of eva")
    assert words("user", "disable", "eva").stdout == "user eva may not log in, and their tokens open nothing\n"
    assert "no, disabled" in words("user", "ls").stdout
    assert words("me", code=3, HEADRACE_TOKEN=made)
    assert words("user", "enable", "eva").stdout == "user eva may log in\n"
    assert words("token", "show", "hers").stdout.startswith("token hers, operator, of eva")
    assert "no user" in words("user", "disable", "nobody", code=3).stderr


def test_some_fields_of_a_limit_are_changed(words: Words) -> None:
    words("limit", "put", "api", "--slots", "2", "--description", "theirs", "--rate", "10/1s")
    changed = words.json("limit", "patch", "api", "--slots", "5", "--rate", "none")
    assert (changed["slots"], changed["rate"], changed["description"]) == (5, None, "theirs")
    assert "say what is to be changed" in words("limit", "patch", "api", code=2).stderr
    assert "no limit" in words("limit", "patch", "nothing", "--slots", "1", code=3).stderr
    assert "whole number" in words("limit", "patch", "api", "--slots", "many", code=2).stderr


def test_a_job_is_put_with_a_reason(words: Words) -> None:
    (words.folder / "why.json").write_text('{"name": "why", "tasks": [{"name": "a", "command": ["true"]}]}')
    words("job", "put", "why.json", "--reason", "the auditor asked")
    assert words.json("job", "versions", "why")["items"][0]["reason"] == "the auditor asked"


def test_the_server_tells_its_state_and_its_version(words: Words) -> None:
    told = words("stats").stdout
    assert "agents" in told
    assert words.json("stats")["agents"] == 1
    words("exec", "--wait", "--", "true")
    assert words.json("stats")["settled"] >= 1
    assert "no job" in words("stats", "no-such-job", code=3).stderr
    server = words.json("version", "--server")
    assert server["store"]
    assert json.loads(words("version", "--json").stdout)["version"] == server["version"]
    assert words("version", "--server").stdout.startswith(f"headrace {server['version']} ")
    assert "no server answers" in words("--url", "http://127.0.0.1:9", "version", "--server", code=3).stderr
