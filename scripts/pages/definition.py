"""docs/reference/definition.md, from the records of the definition document."""

from __future__ import annotations

from headrace.core.check import later_fields
from headrace.model import definition as d
from pages.words import GENERATED, anchor, fields_table, prose, records_below, table

INTRO = """# Definition document

One document, in JSON, YAML or Python: all three give the same one. `headrace schema job` prints it as JSON Schema for
editors; `headrace check FILE…` lists every problem of a file with line and column, without a server.

Unknown fields are errors, and the nearest known one is named. A field that says *later* is accepted by the schema and
refused with "not available yet: …" when it is used, so that documents never change their meaning.
"""
EXPRESSIONS = """## Expressions

`${path}` or `${path ?? path ?? "literal"}` is the whole language. A path is a root, then `.name`, `[3]`, `["any key"]`.

| root | gives |
|---|---|
| `params` | the run's parameters |
| `tasks.NAME.result`, `.exit_status`, `.state` | what a task gave; makes this task need it |
| `run.id`, `.job`, `.labels` | the run |
| `run.url` | the run's address, `http://HOST:PORT/api/v1/runs/ID`, as its server calls itself (with `--hosts` by the first of them); `/runs/ID` in a run without a server |
| `fire.instant`, `.date` … | the instant of the schedule; without one, the moment of submit |
| `item`, `index` | in a task with `each` |

A value that is exactly one `${…}` keeps its type; inside a text, in argv and in `env` a value that is not text is its
JSON. `$${` writes `${`. A path without a value and without `??` fails the task, reason `expression`, before any attempt.
Never rendered: `script`, and the program text after `-c` or `-e` of an interpreter: parameters never become code.
"""


def page() -> str:
    """The whole page."""
    records = records_below([d.JobDefinition])
    linked = [record.__name__ for record in records]
    parts = [GENERATED, INTRO, "## Texts with a form\n", _forms()]
    later = {d.JobDefinition: later_fields("job"), d.Task: later_fields("task")}
    for record in records:
        marks = dict.fromkeys(later.get(record, ()), "*Later.*")
        parts += [f"## {record.__name__}\n", prose(record.__doc__) + "\n", fields_table(record, linked, marks)]
    kinds = ", ".join(f"`{kind}`" + ("" if kind in d.KINDS_NOW else " (later)") for kind in d.KINDS)
    place = parts.index("## Task\n") + 2
    parts.insert(place, f"Kinds, exactly one per task: {kinds}.\n")
    parts.append(EXPRESSIONS)
    assert anchor("JobDefinition") == "jobdefinition"
    return "\n".join(parts)


def _forms() -> str:
    rows = []
    for name in ("Name", "Duration", "Size"):
        (meta,) = getattr(d, name).__metadata__
        rows.append((name.lower(), meta.description, f"`{meta.pattern}`"))
    return table(("what", "looks like", "pattern"), rows)
