"""On a terminal missing parameters are asked for; in a pipe, for a program, or with ``--yes`` they are problems."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from test_cli_words import HEADRACE, Words, words

__all__ = ["words"]

ASKS = """\
name: asks
params:
  type: object
  properties:
    who: {type: string, description: whom to greet, minLength: 2}
    times: {type: integer, maximum: 3}
    kind: {enum: [short, long]}
    code: {type: string, format: password}
    note: {type: string}
    size: {type: integer, default: 1}
  required: [who, times, kind, code, size]
tasks: [{name: a, command: ["true"]}]
"""


class Typist:
    """Somebody at a terminal."""

    def __init__(self, words: Words, *line: str) -> None:
        self._ours, theirs = pty.openpty()
        environ = {**words.server.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
        command = ["env", "--default-signal=INT", HEADRACE, "--data", str(words.server.data), *line]
        # setsid and the controlling terminal: Ctrl-C and hidden input are the terminal's doing
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            cwd=words.folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until it is shown."""
        while text not in self.shown:
            self.shown += os.read(self._ours, 65_536).decode()

    def answers(self, prompt: str, text: str) -> None:
        """Type an answer when the prompt is there; what stood before it is over."""
        self.until(prompt)
        self.shown = self.shown.partition(prompt)[2]
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        try:
            while data := os.read(self._ours, 65_536):
                self.shown += data.decode()
        except OSError:
            pass  # the other end is closed: that is how a pty ends
        os.close(self._ours)
        return self._process.wait()


@pytest.fixture(scope="module")
def asks(words: Words) -> Words:
    (words.folder / "asks.yaml").write_text(ASKS)
    words("job", "put", "asks.yaml")
    return words


def count(words: Words) -> int:
    return len(words.json("runs", "--job", "asks")["items"])


@pytest.mark.parametrize("target", ["asks", "asks.yaml"])
def test_what_is_missing_is_asked_for_and_checked_at_once(asks: Words, target: str) -> None:
    typist = Typist(asks, "run", target, "--kind", "long", "--wait")
    typist.answers("who (string; whom to greet): ", "A\n")
    typist.answers("who (string; whom to greet): ", "Ada\n")
    typist.answers("times (integer): ", "many\n")
    typist.answers("times (integer): ", "\n")
    typist.answers("times (integer): ", "9\n")
    typist.until("maximum of 3")
    typist.answers("times (integer): ", "2\n")
    typist.answers("code (string; password): ", "hush\n")
    assert typist.end() == 0
    assert "hush" not in typist.shown
    assert "succeeded" in typist.shown
    newest = asks.json("runs", "--job", "asks", "--limit", "1")["items"][0]
    assert newest["params"] == {"who": "Ada", "times": 2, "kind": "long", "code": "hush", "size": 1}


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_who_gives_up_leaves_nothing_behind(asks: Words, key: str) -> None:
    before = count(asks)
    typist = Typist(asks, "run", "asks", "--who", "Ada")
    typist.answers("times (integer): ", key)
    assert typist.end() == (130 if key == "\x03" else 2)
    assert "Traceback" not in typist.shown
    assert count(asks) == before


def test_what_was_given_wrong_is_told_before_anything_is_asked(asks: Words) -> None:
    typist = Typist(asks, "run", "asks", "--times", "9")
    assert typist.end() == 2
    assert "maximum of 3" in typist.shown
    assert "who (" not in typist.shown


@pytest.mark.parametrize("line", [["--json"], ["--yes"], ["--edn"]])
def test_a_program_is_not_asked(asks: Words, line: list[str]) -> None:
    typist = Typist(asks, "run", "asks", *line)
    assert typist.end() == 2
    assert "is missing" in typist.shown
    assert "who (" not in typist.shown


def test_in_a_pipe_nothing_is_asked(asks: Words) -> None:
    done = asks("run", "asks", code=2)
    assert "params.who: is missing" in done.stderr
    assert "params.times: is missing" in done.stderr
