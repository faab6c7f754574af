"""What ``headrace run TARGET`` means: a saved job's name, a definition file, or ``file.py:job``.

Also turns ``--name value`` into parameters by the job's schema. Imports the user's own file (in this process, as the
user asked) and nothing of the servers.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headrace.model.errors import HeadraceError, Invalid, Problem
from headrace.model.naming import nearest

T = TypeVar("T")

MEDIA = {
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".json": "application/json",
    ".edn": "application/edn",
}

OTHERS = {"type": ["null", "boolean", "number", "array", "object"]}
"""The schema of a word whose type nobody knows: JSON where it is JSON, else text."""
ANYTHING: dict[str, Any] = {"additionalProperties": OTHERS}
"""The schema of words none of which is known."""
SLIP = 0.75
"""How like a flag a word must be to be taken for a slip."""


class Target(msgspec.Struct, frozen=True):
    """Exactly one of ``name`` (a saved job) and ``definition``. ``package`` is (name, zip) of the code to register first.

    ``children`` are the jobs that its tasks run, and theirs: a child run is one of a saved job, so they are saved first.
    """

    name: str = ""
    definition: dict[str, Any] | None = None
    package: tuple[str, bytes] | None = None
    children: tuple[dict[str, Any], ...] = ()


def read(text: str) -> Target:
    """Find out what the words mean. Raises Invalid with what to do instead."""
    if ".py:" in text or text.endswith(".py"):
        return _python(text)
    path = Path(text)
    if path.is_dir():
        raise Invalid(f"{text} is a folder: name a definition file in it, or FILE.py:JOB")
    if path.suffix.lower() in MEDIA or path.is_file():
        return Target(definition=document(path))
    if "/" in text or "." in text:
        raise Invalid(f"there is no file {text!r}")
    return Target(name=text)


def document(path: Path) -> dict[str, Any]:
    """A definition file, checked in shape; problems carry line and column."""
    from headrace.codec.documents import definition_from, read_document
    from headrace.core.check import check

    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}") from error
    read_in = read_document(data, media=MEDIA.get(path.suffix.lower()), name=str(path))
    definition: dict[str, Any] = msgspec.to_builtins(definition_from(read_in, check))
    return definition


def _python(text: str) -> Target:
    from headrace.author.bundle import bundle, load_job, package_name

    file, _, wanted = text.partition(":")
    path = Path(file)
    if not path.is_file():
        raise Invalid(f"there is no file {file!r}")
    job = _imported(path, lambda: load_job(path, wanted or None))
    definition: dict[str, Any] = msgspec.to_builtins(job.definition())
    name = package_name(path)
    children = tuple(msgspec.to_builtins(child.definition()) for child in _children(job))
    return Target(definition=definition, package=(name, bundle(path)), children=children)


def jobs_of(path: Path) -> dict[str, Any]:
    """The jobs of a Python file by their names in it. Raises Invalid when it cannot be imported."""
    from headrace.author.bundle import jobs_in

    return dict(_imported(path, lambda: jobs_in(path)))


def every_job(text: str) -> list[dict[str, Any]]:
    """The definitions that ``file.py`` (all its jobs) or ``file.py:job`` means."""
    from headrace.author.bundle import jobs_in, load_job

    file, _, wanted = text.partition(":")
    path = Path(file)
    if not path.is_file():
        raise Invalid(f"there is no file {file!r}")
    jobs = {} if wanted else _imported(path, lambda: jobs_in(path))
    found = list(jobs.values()) or [_imported(path, lambda: load_job(path, wanted or None))]
    return [msgspec.to_builtins(job.definition()) for job in found]


def _children(job: Any) -> list[Any]:
    """The ``@job`` objects that are called in a job's body, and in theirs, each once."""
    from headrace.author.job import JobFunction

    found: dict[str, Any] = {}
    todo = [job]
    while todo:
        outer = todo.pop()
        for work in outer.works().values() if isinstance(outer, JobFunction) else ():
            if isinstance(work, JobFunction) and work.name not in found:
                found[work.name] = work
                todo.append(work)
    return list(found.values())


def _imported(path: Path, load: Callable[[], T]) -> T:
    """What the user's file gives; when it fails, its own frames and no others are told."""
    try:
        return load()
    except HeadraceError:
        raise
    except Exception as error:  # whatever the user's own code raises
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if not f.filename.startswith(("<frozen", str(Path(__file__).parents[1])))]
        problems = [Problem(f.filename, f"in {f.name}: {f.line}", line=f.lineno) for f in own]
        if isinstance(error, SyntaxError):
            problems = [Problem(str(path), (error.text or "").strip(), line=error.lineno, column=error.offset)]
        message = f"{path} cannot be imported: {type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            message += f"; to install it for this Python: {sys.executable} -m pip install …"
        raise Invalid(message, problems=tuple(problems)) from error


def parameters(
    words: Sequence[str], pairs: Sequence[str], schema: Mapping[str, Any] | None, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """``--name value``, ``--name=value``, ``--flag`` and ``-p name=value`` as parameters, typed by the schema.

    Raises Invalid for every word that fits nothing, all at once; ``flags`` are those that may have been meant.
    """
    given: list[tuple[str, str | None]] = []
    problems: list[Problem] = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if equals:
            given.append((name, value))
        else:
            problems.append(Problem(f"-p {pair}", "write it as name=value"))
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            problems.append(Problem(word, "write parameters as --name value or -p name=value"))
            continue
        name, equals, value = word[2:].partition("=")
        if equals:
            given.append((name, value))
        elif rest and not rest[0].startswith("--"):
            given.append((name, rest.pop(0)))
        else:
            given.append((name, None))
    known = (schema or {}).get("properties", {})
    values: dict[str, Any] = {}
    for name, text in given:
        actual = name if name in known else name.replace("-", "_")
        if actual not in known and closed(schema):
            problems.append(Problem(f"--{name}", f"there is no such parameter{_meant(actual, known, flags)}"))
            continue
        kinds = kinds_of(known.get(actual, {}), schema or {})
        if text is None and kinds and not kinds & {"boolean", "null"}:
            problems.append(Problem(f"--{name}", f"its value is missing: --{name} {'|'.join(sorted(kinds)).upper()}"))
            continue
        values[actual] = typed(text, known.get(actual, OTHERS if schema is ANYTHING else {}), schema)
    if problems:
        raise Invalid("the parameters are wrong", problems=(*problems, *_misfits(values, schema)))
    return values


def parameters_help(target: str, schema: Mapping[str, Any]) -> str:
    """The parameters of a job as help shows them: flag, type, whether it must be given, default, description."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if not properties:
        return f"{target} takes no parameters.\n"
    required = set(schema.get("required") or ())
    lines = [f"parameters of {target}:"]
    for name, one in properties.items():
        one = one if isinstance(one, dict) else {}
        told = [f"one of {', '.join(map(str, one['enum']))}"] if "enum" in one else []
        told += [str(one["description"])] if one.get("description") else []
        told += ["required"] if name in required else []
        told += [f"default {msgspec.json.encode(one['default']).decode()}"] if "default" in one else []
        kinds = sorted(kinds_of(one, schema) - {"null"})
        flag = f"  --{name.replace('_', '-')} {'|'.join(kinds).upper() or 'VALUE'}"
        lines.append(f"{flag:<28}  {'; '.join(told)}".rstrip())
    return "\n".join(lines) + "\n"


def closed(schema: Mapping[str, Any] | None) -> bool:
    """Whether a word that names no property is a slip: the schema names properties and does not ask for others."""
    return bool((schema or {}).get("properties")) and not {"additionalProperties", "patternProperties"} & set(
        schema or {}
    )


def slips(words: Sequence[str], schema: Mapping[str, Any] | None, flags: Sequence[str]) -> list[str]:
    """Words that a job without declared parameters takes as parameters, and that may have been meant as flags."""
    if closed(schema):
        return []
    known = (schema or {}).get("properties", {})
    found = []
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and name[2:] not in known and name[2:].replace("-", "_") not in known:
            near = get_close_matches(name[2:], [flag[2:] for flag in flags if flag.startswith("--")], 1, SLIP)
            if near:
                found.append(
                    f"{name} is taken as a parameter; did you mean --{near[0]}? (-p {name[2:]}=… says a parameter)"
                )
    return found


def _meant(name: str, known: Mapping[str, Any], flags: Sequence[str] = ()) -> str:
    near = nearest(name, [*known, *(flag[2:] for flag in flags if flag.startswith("--"))])
    return f" (did you mean --{near}?)" if near else f"; there are: {', '.join(f'--{k}' for k in known)}"


def _misfits(values: dict[str, Any], schema: Mapping[str, Any] | None) -> tuple[Problem, ...]:
    """What the schema says of the words that were understood, so that everything is told at once."""
    from headrace.codec.params import ParamsSchema

    try:
        ParamsSchema(dict(schema or {})).fill(values)
    except Invalid as error:
        return error.problems
    return ()


def typed(value: str | None, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A word as the value that its schema asks for; a word that does not fit stays text, and the server says why."""
    if value is None:
        return True
    kinds = kinds_of(schema, root or {})
    if "string" in kinds or (not kinds and not schema) or (not kinds and "enum" in schema and value in schema["enum"]):
        return value if "null" not in kinds or value != "null" else None
    try:
        return msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return value


def kinds_of(schema: Mapping[str, Any], root: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema lets through, as far as it says so."""
    kind = schema.get("type")
    kinds = {kind} if isinstance(kind, str) else set(kind or ())
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        kinds |= kinds_of(part, root)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        kinds |= kinds_of(root.get("$defs", {}).get(reference[8:], {}), root)
    return kinds
