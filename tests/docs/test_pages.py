"""What the documentation says of itself: generated pages are new, links lead somewhere, every page can be found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def generate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "scripts/generate_docs.py", *words], capture_output=True, text=True)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dangling(page: Path) -> list[str]:
    """The links of a page that lead nowhere; links to other sites are not followed."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, place = link.partition("#")
        target = (page.parent / file) if file else page
        if not target.exists() or (place and place not in anchors(target)):
            found.append(link)
    return found


def test_the_generated_pages_say_what_the_code_does() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_old_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs" / "reference" / "cli.md"
    page.write_text(page.read_text().replace("--utc", "--gmt"))
    done = generate("--check", "--docs", str(tmp_path / "docs"))
    assert (done.returncode, done.stdout) == (1, "reference/cli.md is old: make docs\n")
    generate("--docs", str(tmp_path / "docs"))
    assert page.read_text() == (ROOT / "docs" / "reference" / "cli.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_link_leads_nowhere(page: Path) -> None:
    assert not dangling(page)


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](no.md) [b](#one-two) [c](#three) [d](https://example.test) [e](page.md#one-two)\n")
    assert dangling(page) == ["no.md", "#three"]


def test_every_page_is_reached_from_the_readme() -> None:
    todo, seen = [ROOT / "README.md"], set()
    while todo:
        page = todo.pop().resolve()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        todo += [page.parent / link.partition("#")[0] for link in LINK.findall(page.read_text()) if ":" not in link]
    docs = {page.resolve() for page in ROOT.glob("docs/**/*.md")}
    assert not {str(page.relative_to(ROOT)) for page in docs - seen}
