"""Source files → a package: the project around a file, or the one file, as a zip that is the same byte by byte each time.

Reads files and, in ``load_job`` only, imports the user's own module in the user's own process. Called by the CLI and
the client; never by control or an agent.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.author.builder import Job
from headrace.author.job import JobFunction
from headrace.author.task import Task, TaskFunction, reference_of
from headrace.model.errors import Invalid, TooLarge
from headrace.model.naming import did_you_mean

MARKS = ("headrace.toml", "pyproject.toml", ".git")
BUNDLE_MAX = 50 * 1024 * 1024
MANIFEST = ".headrace/package.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
NEVER = (
    ".env*", "*.pem", "*.key", "id_rsa*", "id_ed25519*", "*.p12", "*.pfx", ".netrc", ".pypirc", ".npmrc", "admin-token",
    "credentials", "credentials.json", "secrets.*", "*.secret", "*.kdbx",
)  # fmt: skip
"""Files that may hold secrets: never packed, whatever else says so."""
SKIPPED = (
    ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".headrace", ".tox", ".nox", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".idea", ".vscode", ".aws", ".ssh", ".gnupg", "*.egg-info",
)  # fmt: skip


def project_of(path: Path) -> Path | None:
    """The nearest folder upwards that is marked as a project; None when there is none."""
    start = path.resolve()
    for folder in (start, *start.parents) if start.is_dir() else start.parents:
        if any((folder / mark).exists() for mark in MARKS):
            return folder
    return None


def import_root(path: Path) -> Path:
    """The folder from which this file is imported: the nearest upwards that is no Python package."""
    folder = path.resolve().parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def package_name(path: Path) -> str:
    """A name for the package: that of the project's folder, else of the file."""
    project = project_of(path)
    name = re.sub(r"[^a-z0-9_-]+", "-", (project.name if project else path.stem).lower()).strip("-_")
    return name[:63] or "package"


def bundle(path: Path) -> bytes:
    """The package that holds this file: its project, or the one file. Raises Invalid or TooLarge."""
    path = path.resolve()
    project = project_of(path)
    if project is None and path.is_dir():
        project = path
    if project is None:
        return packed({path.name: path}, [""])
    inner = "" if path.is_dir() else os.path.relpath(import_root(path), project)
    if inner.startswith(".."):
        return packed({path.name: path}, [""])
    roots = ["" if inner == "." else inner, ""]
    if (project / "src").is_dir():
        roots.append("src")
    files = {f.relative_to(project).as_posix(): f for f in project_files(project)}
    return packed(files, list(dict.fromkeys(roots)))


def packed(files: dict[str, Path], roots: list[str]) -> bytes:
    """A zip of these files with nothing in it that depends on when or where it was made. Raises TooLarge."""
    total = 0
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as z:
        z.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), msgspec.json.encode({"roots": roots}))
        for name in sorted(files):
            content = files[name].read_bytes()
            total += len(content)
            if total > BUNDLE_MAX:
                raise TooLarge(
                    f"the project has more than {BUNDLE_MAX >> 20} MiB of files (at {name}): put large ones into "
                    ".gitignore, or a headrace.toml beside the job's file to make that folder the project"
                )
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            z.writestr(info, content)
    return buffer.getvalue()


def project_files(project: Path) -> Iterator[Path]:
    """Every file of a project that belongs into its package, in no order. Links are not followed."""
    stack: list[tuple[Path, tuple[Rule, ...]]] = [(project, ())]
    while stack:
        folder, rules = stack.pop()
        rules = (*rules, *rules_in(folder))
        for entry in os.scandir(folder):
            path = Path(entry.path)
            directory = entry.is_dir(follow_symlinks=False)
            name = entry.name
            if (
                entry.is_symlink()
                or _any(name, SKIPPED)
                or _any(name.lower(), NEVER)
                or ignored(path, rules, directory)
            ):
                continue
            if directory:
                if not (path / "pyvenv.cfg").exists():
                    stack.append((path, rules))
            elif entry.is_file(follow_symlinks=False) and not name.endswith((".pyc", ".pyo")):
                yield path


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


class Rule(msgspec.Struct, frozen=True):
    """One line of a .gitignore, as a regular expression over the path below its folder."""

    folder: str
    pattern: str
    keep: bool
    only_folders: bool


def rules_in(folder: Path) -> tuple[Rule, ...]:
    """The rules of this folder's .gitignore."""
    try:
        lines = (folder / ".gitignore").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple(rule for line in lines if (rule := rule_of(str(folder), line)) is not None)


def rule_of(folder: str, line: str) -> Rule | None:
    """One line; None for blanks and comments."""
    text = line.rstrip()
    if not text or text.startswith("#"):
        return None
    keep, text = text.startswith("!"), text.lstrip("!").removeprefix("\\")
    only_folders, text = text.endswith("/"), text.rstrip("/")
    anchored = "/" in text
    parts = text.lstrip("/").split("**/")
    body = "(?:.*/)?".join(_glob(p) for p in parts)
    return Rule(folder, ("" if anchored else "(?:.*/)?") + body, keep, only_folders)


def _glob(text: str) -> str:
    translated = fnmatch.translate(text).removeprefix("(?s:").removesuffix(r")\Z").replace("(?>.*?", "(?:[^/]*?")
    return translated.replace(".*", "[^/]*") if "**" not in text else translated


def ignored(path: Path, rules: tuple[Rule, ...], directory: bool) -> bool:
    """Whether the last rule that matches says no."""
    for rule in reversed(rules):
        if rule.only_folders and not directory:
            continue
        if re.fullmatch(rule.pattern, os.path.relpath(path, rule.folder)):
            return not rule.keep
    return False


def jobs_in(path: Path) -> dict[str, JobFunction[..., Any] | Job]:
    """Import the file in this process and give its jobs by the names that they have in it. Raises Invalid."""
    path = path.resolve()
    root = import_root(path)
    project = project_of(path)
    for folder in (root, *([project, project / "src"] if project else [])):
        if str(folder) not in sys.path:
            sys.path.insert(0 if folder == root else 1, str(folder))
    module_name = _module_name(path)
    module = sys.modules.get(module_name)
    if module is None or Path(getattr(module, "__file__", None) or "").resolve() != path:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise Invalid(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]  # half a module: who asks again is to get the error again
            raise
    return {key: value for key, value in vars(module).items() if isinstance(value, JobFunction | Job)}


def load_job(path: Path, name: str | None = None) -> JobFunction[..., Any] | Job:
    """Import the file in this process and give the job of that name, or the only one there is. Raises Invalid."""
    found = jobs_in(path)
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    named = {**{j.name: j for j in found.values()}, **found}
    if name in named:
        return named[name]
    raise Invalid(_no_job(path, name, found))


def _no_job(path: Path, name: str | None, jobs: Mapping[str, object]) -> str:
    """What to say to who asked for a job that is not there, with the way on."""
    tasks = _tasks_in(path)
    there = f"its jobs: {', '.join(sorted(jobs)) or 'none'}"
    if name is None:
        there += f"; say which: {path.name}:{min(jobs)}" if jobs else ""
        if tasks and not jobs:
            there += f"; its tasks: {', '.join(tasks)}; {_way(path, min(tasks), tasks)}"
        return f"{path.name} has not exactly one job; {there}"
    if name in tasks:
        return f"{name!r} of {path.name} is a task, no job: {_way(path, name, tasks)}; {there}"
    return f"{path.name} has no job {name!r}{did_you_mean(name, [*jobs, *tasks])}; {there}" + (
        f"; its tasks: {', '.join(tasks)}" if tasks else ""
    )


def _way(path: Path, name: str, tasks: Mapping[str, str]) -> str:
    return f"headrace package push {path} && headrace task run {tasks[name]} runs it alone, or call it in a @job"


def _tasks_in(path: Path) -> dict[str, str]:
    """The tasks of a file that ``jobs_in`` has imported: names in it, sorted, and how they are called elsewhere."""
    own = sys.modules[_module_name(path.resolve())]
    found = {}
    for name, value in sorted(vars(own).items()):
        if isinstance(value, TaskFunction):
            found[name] = value.reference
        elif isinstance(value, type) and issubclass(value, Task) and value.__module__ == own.__name__:
            found[name] = reference_of(value)
    return found


def _module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").relative_to(import_root(path)).parts)
