"""How the command line speaks to people: colours and cuts on a terminal, plain and whole lines in a pipe, their own zone."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from headrace.cli.main import main
from headrace.cli.terminal import Terminal, clean, elapsed, fit, short, visible
from headrace.codec.edn import Keyword, loads
from headrace.model.views import RunView

LONG = "a very long description " * 20


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")


def table(out: io.StringIO) -> list[str]:
    rows = [("1", "failed", LONG), ("2", "succeeded", "日本語の説明 " * 20)]
    Terminal(out=out).table(("id", "state", "description"), rows)
    return out.getvalue().splitlines()


def bare(line: str) -> str:
    for code in ("1", "2", "31", "32"):
        line = line.replace(f"\x1b[{code}m", "")
    return line.replace("\x1b[0m", "")


def test_a_table_fits_the_terminal_and_shows_states_in_colour(plain: None) -> None:
    lines = table(Screen())
    assert all(visible(bare(line)) <= 60 for line in lines), lines
    assert "\x1b[31mfailed\x1b[0m" in lines[1]
    assert lines[1].endswith("…")
    assert lines[2].rstrip().endswith("…")


def test_in_a_pipe_nothing_is_cut_or_coloured(plain: None) -> None:
    lines = table(io.StringIO())
    assert lines[1].endswith(LONG.rstrip())
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_none(
    plain: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in "".join(table(Screen()))


def test_columns_stand_below_each_other_also_with_wide_and_combining_characters() -> None:
    assert (visible("abc"), visible("日本"), visible("e\u0301")) == (3, 4, 1)
    assert [visible(fit(text, 5)) for text in ("a", "日本語語", "abcdefgh", "日本")] == [5, 5, 5, 5]


def test_times_are_in_the_readers_zone_and_in_utc_when_asked(zone: None) -> None:
    instant = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)
    assert Terminal(out=io.StringIO()).when(instant) == "2026-03-30 04:00:00"
    assert Terminal(out=io.StringIO(), utc=True).when(instant) == "2026-03-29 22:30:00 UTC"
    assert Terminal(out=io.StringIO()).when(None) == ""


def test_what_comes_from_elsewhere_cannot_drive_the_terminal() -> None:
    assert clean("a\x1b[2Jb\rc\nd") == "a\ufffd[2Jb\ufffdc d"
    assert short({"a": "\x9b"}) == '{"a":"\ufffd"}'
    assert len(short("x" * 1000)) == 200


def test_spans_are_said_as_people_say_them() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    spans = (0.32, 4.2, 185, 7800)
    assert [elapsed(start, start + timedelta(seconds=s)) for s in spans] == ["320 ms", "4.2 s", "3 m 05 s", "2 h 10 m"]


def test_records_are_printed_as_edn_with_keys_of_their_own() -> None:
    out = io.StringIO()
    assert Terminal(form="edn", out=out).data(
        {
            "items": [
                RunView(
                    id=1,
                    job="j",
                    version=1,
                    state="succeeded",
                    params={"day": "2026-03-29"},
                    created_at=datetime.now(UTC),
                )
            ],
            "labels": {"a": "b"},
        }
    )
    read = loads(out.getvalue().encode())
    run = read[Keyword("items")][0]
    assert run[Keyword("run/state")] == Keyword("succeeded")
    assert run[Keyword("run/params")] == {"day": "2026-03-29"}


def test_commands_are_listed_as_a_day_goes_and_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    listed = capsys.readouterr().out
    places = [listed.index(f"\n    {word} ") for word in ("up", "run", "exec", "runs", "show", "logs", "job", "config")]
    assert places == sorted(places)
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"]
    assert main(["rnus"]) == 2
    assert "did you mean 'runs'" in capsys.readouterr().err
