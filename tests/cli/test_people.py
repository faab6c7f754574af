"""Passwords on the command line, the file of sessions, and which credential a command uses."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import people
from headrace.cli.main import main
from headrace.client import find, logins


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HEADRACE_TOKEN", "HEADRACE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize(
    "words", [["user", "add", "eva", "--password", "x"], ["login", "eva", "secret"], ["login", "eva", "--password=x"]]
)
def test_a_password_is_no_word_of_the_command_line(words: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_without_a_terminal_a_password_comes_from_standard_input_only_when_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a good password\n"))
    assert main(["user", "add", "eva", "--url", "http://127.0.0.1:1"]) == 2
    assert "--password-stdin" in capsys.readouterr().err


def test_a_terminal_asks_twice_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = [], ["one", "two"]

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return answers.pop(0)

    monkeypatch.setattr("sys.stdin", Tty())
    monkeypatch.setattr("getpass.getpass", getpass)

    class Args:
        password_stdin = False

    with pytest.raises(Exception, match="not the same"):
        people._new_password(Args(), "eva")  # type: ignore[arg-type]
    assert len(asked) == 2


def test_the_file_of_sessions_is_the_users_alone(home: Path) -> None:
    environ = {"XDG_STATE_HOME": str(home / "state")}
    logins.keep(environ, "http://a", logins.Login("eva", "hrs_x"))
    path = logins.place(environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["logins.json"]
    path.chmod(0o644)
    logins.keep(environ, "http://b", logins.Login("adam", "hrs_y"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    logins.keep(environ, "http://a", None)
    assert set(logins.read(environ)) == {"http://b"}
    path.write_text("not json")
    assert logins.read(environ) == {}


def test_what_is_given_wins_over_the_session_and_that_over_the_data_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = home / "data"
    data.mkdir()
    (data / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:1"}))
    (data / "admin-token").write_text("of-the-folder")
    assert find.server() == ("http://127.0.0.1:1", "of-the-folder")
    logins.keep({"XDG_STATE_HOME": str(home / "state")}, "http://127.0.0.1:1", logins.Login("eva", "of-the-session"))
    assert find.server() == ("http://127.0.0.1:1", "of-the-session")
    assert find.server("http://127.0.0.1:2") == ("http://127.0.0.1:2", None)
    monkeypatch.setenv("HEADRACE_TOKEN", "of-the-environment")
    assert find.server() == ("http://127.0.0.1:1", "of-the-environment")
    assert find.server(token="given") == ("http://127.0.0.1:1", "given")


def test_a_401_says_whose_session_was_used(home: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.cli import runs
    from headrace.model.errors import Unauthorized

    def refused(*_: Any) -> int:
        raise Unauthorized("the session is over: log in again")

    monkeypatch.setattr(runs, "list_runs", refused)
    logins.keep({"XDG_STATE_HOME": str(home / "state")}, "http://127.0.0.1:1", logins.Login("eva", "hrs_x"))
    assert main(["runs", "--url", "http://127.0.0.1:1"]) == 3
    assert "headrace login eva" in capsys.readouterr().err
    assert main(["runs", "--url", "http://127.0.0.1:1", "--token", "other"]) == 3
    assert "login eva" not in capsys.readouterr().err
