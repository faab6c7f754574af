"""What the pages tell a reader to type is typed: YAML is checked, Python runs, commands run, in the order of the page.

A page is a story in a folder of its own. A ``python``, ``yaml`` or ``edn`` block is saved under the name that its first line (a
comment) or the line before it says. ``sh`` blocks run against a real ``headrace up``, started where the page starts one.
A ``text`` block is what the commands before it print: each of its lines must be found, times and spans may differ.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import until

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/tutorial/*.md")), *sorted(ROOT.glob("docs/howto/*.md"))]
PAGES += sorted(ROOT.glob("docs/explanation/*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\A[#;] (\S+\.(?:py|yaml|edn))\n|`(\S+\.(?:py|yaml|edn))`:\s*\Z")
SETUP = ("git clone ", "cd ", "source ")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
DRAWN = {"mermaid", ""}


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, text, what stands before it) of every block."""
    for found in BLOCK.finditer(text):
        yield found[1], found[2], text[: found.start()].rstrip("\n")


def pattern(line: str) -> re.Pattern[str]:
    """A line of output, loosely: clock times and spans differ, columns may be wider, ``…`` is anything."""
    loose = re.escape(line.strip()).replace("…", ".*")
    loose = re.sub(r"\d\d:\d\d:\d\d", r"\\d\\d:\\d\\d:\\d\\d", loose)
    loose = re.sub(r"\d+(\\\.\d+)?\\ (ms|s)\b", r"[\\d.]+ m?s", loose)
    return re.compile(re.sub(r"(\\ )+", r"\\s+", loose))


class Story:
    """One page as its reader lives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = ""
        self.server: subprocess.Popen[bytes] | None = None
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE")}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        self.environ = {**kept, "PATH": path, "HEADRACE_DATA": str(folder / "data"), "HEADRACE_PORT": "0"}
        self.environ["XDG_STATE_HOME"] = str(folder / "state")

    def live(self, kind: str, text: str, before: str) -> None:
        if kind == "sh":
            self.output = "".join(self.type(line) for line in re.sub(r"\\\n\s*", "", text).splitlines())
        elif kind == "text":
            missing = [line for line in text.splitlines() if line.strip() and not pattern(line).search(self.output)]
            assert not missing, f"not printed: {missing}\nprinted:\n{self.output}"
        elif kind in ("python", "yaml", "edn"):
            self.save(kind, text, before)
        else:
            assert kind in DRAWN, f"a block of a kind that nobody checks: {kind}"

    def save(self, kind: str, text: str, before: str) -> None:
        found = NAMED.search(text) or NAMED.search(before)
        name = (found[1] or found[2]) if found else f"block.{'py' if kind == 'python' else kind}"
        (self.folder / name).write_text(text)
        if kind in ("yaml", "edn"):
            assert f"{name}: ok" in self.run("headrace", "job", "check", name)
        elif found is None:
            self.output = self.run(sys.executable, name)
        else:
            assert f"{name}: ok" in self.run("headrace", "check", name)

    def type(self, line: str) -> str:
        line = line.partition("  #")[0].strip()
        if not line or line.startswith(("#", *SETUP)):
            return ""
        if line.startswith("make"):
            assert set(line.split()[1:]) <= TARGETS, line
            return ""
        if line == "headrace up &":
            self.start()
            return ""
        return self.run("bash", "-c", line)

    def run(self, *words: str) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode in (0, 1), f"{words} gave {done.returncode}\n{done.stdout}"
        assert "Traceback" not in done.stdout, done.stdout
        assert done.returncode == 0 or "failed" in done.stdout, done.stdout
        return done.stdout

    def start(self) -> None:
        assert self.server is None, "one server per page"
        with (self.folder / "up.log").open("wb") as log:
            self.server = subprocess.Popen(["headrace", "up"], env=self.environ, stdout=log, stderr=log)
        until((self.folder / "data" / "server.json").exists)

    def end(self) -> None:
        if self.server is not None:
            self.server.terminate()
            assert self.server.wait(30) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_tells_to_type_works(page: Path, tmp_path: Path) -> None:
    story = Story(tmp_path)
    try:
        for block in blocks(page.read_text()):
            story.live(*block)
    finally:
        story.end()


def test_output_that_was_not_printed_is_found(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.live("sh", "echo run 1 succeeded after 12 ms\n", "")
    story.live("text", "run 1 succeeded after 3.4 s\n", "")
    with pytest.raises(AssertionError, match="not printed"):
        story.live("text", "run 2 succeeded after 12 ms\n", "")


def test_a_wrong_document_or_a_failing_command_is_found(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for kind, text in (
        ("yaml", "name: x\ntasks: [{name: a, comand: [x]}]\n"),
        ("sh", "false\n"),
        ("python", "1 / 0\n"),
    ):
        with pytest.raises(AssertionError):
            story.live(kind, text, "")
