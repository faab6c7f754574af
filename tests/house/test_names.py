"""Docstrings speak of modules, and of names in them, that are there; and of who names a concrete store."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "headrace"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = {p.name for p in SOURCE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
DOTTED = re.compile(r"``(?:headrace\.)?([a-z_]+(?:\.[A-Za-z_]\w*)+)(?:\(\))?``")
NO_MODULES = {"control.sock", "control.lock", "manifest.json"}
"""Files of a data folder, and of a backup."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def names_in(path: Path) -> dict[str, ast.AST]:
    """What a module defines or imports at its top, and what its classes define, dotted."""
    found: dict[str, ast.AST] = {}

    def look(body: list[ast.stmt], before: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[before + node.name] = node
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{before}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found[before + target.id] = node
            elif isinstance(node, ast.ImportFrom | ast.Import):
                for alias in node.names:
                    found[before + (alias.asname or alias.name)] = node

    look(ast.parse(path.read_text()).body, "")
    return found


def is_there(dotted: str, at: Path) -> bool:
    """Whether ``room.module.Name.attribute`` leads somewhere from this folder on; ``Name`` may also stand in the package."""
    parts = dotted.split(".")
    while parts and (at / parts[0]).is_dir():
        at = at / parts.pop(0)
    if parts and (at / f"{parts[0]}.py").exists():
        at = at / f"{parts.pop(0)}.py"
    if not parts:
        return True
    module = at if at.suffix else at / "__init__.py"
    if not module.exists():
        return False
    there = names_in(module)
    return ".".join(parts) in there or (len(parts) > 1 and isinstance(there.get(parts[0]), ast.ImportFrom))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_docstrings_name_is_there(path: Path) -> None:
    gone = []
    tree = ast.parse(path.read_text())
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    for node in texts:
        for dotted in DOTTED.findall(str(node.value.value)):  # type: ignore[attr-defined]  # constants, see above
            first = dotted.split(".")[0]
            near = (path.parent / f"{first}.py").exists() and first not in ROOMS
            if (
                (near or first in ROOMS)
                and dotted not in NO_MODULES
                and not is_there(dotted, path.parent if near else SOURCE)
            ):
                gone.append(f"{name(path)}:{node.lineno} {dotted}")
    assert not gone, "\n".join(gone)


def test_only_these_files_name_a_concrete_store() -> None:
    named = re.compile(r"^\s*(from|import) headrace\.store\.(sqlite|postgres)\b", re.MULTILINE)
    found = {str(p.relative_to(SOURCE)) for p in FILES if named.search(p.read_text())}
    outside = {p for p in found if not p.startswith("store/")}
    assert outside == {
        "control/app.py",
        "control/backup/process.py",
        "testing/sim/disk.py",
        "testing/sim/processes.py",
    }


def test_the_api_is_above_the_rest_of_control() -> None:
    named = re.compile(r"^\s*(from|import) headrace\.control(\.api\b| import .*\bapi\b)", re.MULTILINE)
    found = {
        str(p.relative_to(SOURCE / "control"))
        for p in FILES
        if (SOURCE / "control") in p.parents and named.search(p.read_text())
    }
    assert {p for p in found if not p.startswith("api/")} == {"app.py"}
