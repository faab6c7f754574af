"""The house keeps its own rules: sizes, openings, markers, clocks. Numbers are those of the standards."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "headrace"
FILES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FUNCTION_MAX = 60
FUNCTION_P90 = 25
FILE_MAX = 600
FILE_GOAL = 400
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[tuple[Function, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            doc = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield node, lines - (len(doc.splitlines()) if doc else 0)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = [f"{name(p)}:{f.lineno} {f.name} {n}" for p in FILES for f, n in functions(p) if n > FUNCTION_MAX]
    assert not long, "\n".join(long)


def test_nine_functions_of_ten_fit_in_twenty_five_lines() -> None:
    sizes = sorted(n for p in FILES for _, n in functions(p))
    assert sizes[int(len(sizes) * 0.9)] <= FUNCTION_P90


def test_no_file_is_longer_than_the_hard_stop() -> None:
    long = {name(p): n for p in FILES if (n := len(p.read_text().splitlines())) > FILE_MAX}
    assert not long, long


@pytest.mark.parametrize("path", [p for p in FILES if p.read_text().strip()], ids=name)
def test_a_file_opens_with_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{name(path)} has no opening docstring"


def test_public_names_have_docstrings() -> None:
    bare = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if (
                isinstance(node, Function | ast.ClassDef)
                and not node.name.startswith("_")
                and not any("overload" in ast.dump(d) for d in node.decorator_list)
                and not ast.get_docstring(node)
            ):
                bare.append(f"{name(path)}:{node.lineno} {node.name}")
    assert not bare, "\n".join(bare)


def test_nothing_is_left_marked_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{name(p)}:{i}" for p in FILES for i, line in enumerate(p.read_text().splitlines(), 1) if marks.search(line)
    ]
    assert not found, found


def test_every_exception_to_a_rule_gives_its_code_and_its_reason() -> None:
    rule = re.compile(r"#\s*(noqa|type: ignore)(?P<rest>.*)$")
    good = re.compile(r"^(: [A-Z]+\d+(, ?[A-Z]+\d+)*|\[[a-z, -]+\])\s*(#|--?|–|—)?\s*\S")
    bare = []
    for path in FILES:
        for i, line in enumerate(path.read_text().splitlines(), 1):
            if (m := rule.search(line)) and not good.match(m["rest"]):
                bare.append(f"{name(path)}:{i} {line.strip()}")
    assert not bare, "\n".join(bare)


def test_no_statement_of_sql_stands_in_python() -> None:
    sql = re.compile(
        r"^\s*(select|insert|update|delete|create|alter|drop|with)\s.+\s(from|into|set|table|index|as)\s",
        re.IGNORECASE | re.DOTALL,
    )
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and sql.match(node.value)
                and "\n    " not in node.value
            ):
                if not node.value.rstrip().endswith("."):
                    found.append(f"{name(path)}:{node.lineno} {node.value[:60]!r}")
    assert not found, "\n".join(found)


def test_no_module_keeps_mutable_state() -> None:
    found = []
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.List | ast.Dict | ast.Set) and isinstance(node, ast.Assign):
                target = node.targets[0]
                if isinstance(target, ast.Name) and not target.id.isupper() and target.id != "__all__":
                    found.append(f"{name(path)}:{node.lineno} {target.id}")
            if isinstance(node, ast.Global):
                found.append(f"{name(path)}:{node.lineno} global")
    assert not found, found


def test_core_and_model_read_no_clock_and_throw_no_dice() -> None:
    banned = {"time", "datetime.now", "random", "uuid", "os", "asyncio", "logging", "socket", "secrets"}
    found = []
    for path in [*SOURCE.joinpath("core").rglob("*.py"), *SOURCE.joinpath("model").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{name(path)} imports {n}" for n in names if n.split(".")[0] in banned]
    assert not found, found


def test_no_test_sleeps() -> None:
    sleeping = re.compile(r"\b(time|asyncio|anyio)\.sleep\((?!0\))")
    # What a task under test does; a poll with a deadline where nothing tells (a process died); an absence only time shows.
    allowed = re.compile(r"# (the work itself|a poll|absence)|time\.sleep\(600\) # ")
    found = [
        f"{name(p)}:{i}"
        for p in TESTS
        if p != Path(__file__)
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if sleeping.search(line) and not allowed.search(line)
    ]
    assert not found, found


def test_nothing_of_the_workplace_is_written_into_the_project() -> None:
    paths = re.compile(r"(/work/|/tmp/hr|/tmp/bash_jobs|/root/)")
    tracked = [
        *FILES,
        *TESTS,
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(p for p in ROOT.glob("bench/**/*.*") if "__pycache__" not in p.parts),
        *ROOT.glob("scripts/*"),
    ]
    found = [
        name(p) for p in tracked if p.is_file() and p != Path(__file__) and paths.search(p.read_text(errors="replace"))
    ]
    assert not found, found
