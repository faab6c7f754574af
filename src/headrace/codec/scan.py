"""Which tasks and jobs a package has, found by reading its syntax only: nothing of a package is ever imported here.

A scan may miss what is made at run time and never invents anything. Called by control when a package is registered.
"""

from __future__ import annotations

import ast

from msgspec import Struct

from headrace.codec.archive import files, open_archive, roots_of

SOURCE_MAX = 2 * 1024 * 1024
"""A larger file is not looked at: nobody wrote it by hand."""


class TaskInfo(Struct, frozen=True, omit_defaults=True):
    """One ``@task`` function or ``Task`` subclass. ``parameters`` are names without the context, ``required`` those
    without a default.
    """

    module: str
    name: str
    doc: str = ""
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """``module:name``."""
        return f"{self.module}:{self.name}"


class Scanned(Struct, frozen=True):
    """What a package has, sorted by reference. ``jobs`` are references of ``@job`` functions: ``module:name``."""

    tasks: list[TaskInfo]
    jobs: list[str]


def scan(source_zip: bytes) -> Scanned:
    """Every task and job of the package. Raises Invalid or TooLarge for an archive that is not good."""
    archive = open_archive(source_zip)
    roots = roots_of(archive)
    tasks: dict[str, TaskInfo] = {}
    jobs: set[str] = set()
    for path, content in files(archive, ".py"):
        module = module_of(path, roots)
        if module is None or len(content) > SOURCE_MAX:
            continue
        for info in tasks_of(module, content):
            tasks.setdefault(info.reference, info)
        jobs.update(f"{module}:{name}" for name in jobs_of(content))
    return Scanned([tasks[key] for key in sorted(tasks)], sorted(jobs))


def tasks_in(source_zip: bytes) -> list[TaskInfo]:
    """Every task of the package, sorted by reference. Raises Invalid or TooLarge for an archive that is not good."""
    return scan(source_zip).tasks


def module_of(path: str, roots: tuple[str, ...]) -> str | None:
    """The module name that importing this file gives, by the most specific root; None when there is none."""
    for root in sorted(roots, key=len, reverse=True):
        if root and not path.startswith(root + "/"):
            continue
        inner = path[len(root) + 1 if root else 0 :].removesuffix(".py")
        parts = inner.split("/")
        if parts[-1] == "__init__":
            parts.pop()
        return ".".join(parts) if parts and all(p.isidentifier() for p in parts) else None
    return None


def tasks_of(module: str, source: bytes) -> list[TaskInfo]:
    """The tasks at the top of one module; empty when it is no Python."""
    tree = _parsed(source)
    if tree is None:
        return []
    decorators, bases = _names(tree, "task"), _names(tree, "Task")
    found: list[TaskInfo] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_dotted(d) in decorators for d in node.decorator_list):
                found.append(_info(module, node.name, node, node, skip_context=True))
        elif isinstance(node, ast.ClassDef) and any(_dotted(b) in bases for b in node.bases):
            run = next(
                (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == "run"),
                None,
            )
            found.append(_info(module, node.name, node, run, skip_context=False))
    return found


def jobs_of(source: bytes) -> list[str]:
    """The names of the ``@job`` functions at the top of one module; empty when it is no Python."""
    tree = _parsed(source)
    if tree is None:
        return []
    decorators = _names(tree, "job")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if any(_dotted(d) in decorators for d in node.decorator_list)]


def _parsed(source: bytes) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names(tree: ast.Module, wanted: str) -> set[str]:
    """Under which names this module knows ``headrace.<wanted>``."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "headrace":
            found.update(alias.asname or alias.name for alias in node.names if alias.name == wanted)
        elif isinstance(node, ast.Import):
            found.update(f"{alias.asname or 'headrace'}.{wanted}" for alias in node.names if alias.name == "headrace")
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _info(
    module: str,
    name: str,
    documented: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    run: ast.FunctionDef | ast.AsyncFunctionDef | None,
    *,
    skip_context: bool,
) -> TaskInfo:
    doc = (ast.get_docstring(documented) or "").split("\n\n")[0]
    if run is None:
        return TaskInfo(module, name, doc)
    places = [*run.args.posonlyargs, *run.args.args]
    defaults = len(run.args.defaults)
    required = [a.arg for a in places[: len(places) - defaults]]
    if skip_context:
        skipped = (
            1 if places and places[0].annotation is not None and "Context" in ast.unparse(places[0].annotation) else 0
        )
    else:
        skipped = 2
    named = list(zip(run.args.kwonlyargs, run.args.kw_defaults, strict=True))
    parameters = (*(a.arg for a in places[skipped:]), *(a.arg for a, _ in named))
    needed = (*required[skipped:], *(a.arg for a, default in named if default is None))
    return TaskInfo(module, name, doc, parameters, needed)
