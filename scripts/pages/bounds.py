"""docs/reference/limits.md: every bound that a caller can meet, with the constant that it is, and what is said beyond it."""

from __future__ import annotations

from msgspec.structs import fields

from headrace.agent.places import ARTIFACTS_MAX
from headrace.codec import archive, edn, strict_json, yaml
from headrace.codec.edn import tokens
from headrace.codec.shape import MAX_DEPTH
from headrace.control import lockout, values
from headrace.control.api import call, dispatch, guard, records, stream, table
from headrace.control.http import IDLE_S, LINGER_S
from headrace.core import durations, expression
from headrace.link.records import Assignment
from headrace.link.wire import BODY_MAX as AGENT_BODY_MAX
from headrace.model.document import LABEL_MAX
from headrace.model.ids import RUN_ID_MAX
from headrace.runner.left import EXIT_STATUS_MAX, RESULT_MAX
from headrace.store.listing import PAGE_SIZE
from pages.words import GENERATED
from pages.words import table as rows_of

INTRO = """# Limits

Everything that somebody else can make grow has a bound. Beyond it the answer is a problem document that says which bound and
how large it is; nothing is cut silently.
"""


def page() -> str:
    """The whole page."""
    parts = [GENERATED, INTRO]
    for title, rows in (("Requests", _requests()), ("Documents and bodies", _documents()), ("Values", _values())):
        parts += [f"## {title}\n", rows_of(("what", "at most", "beyond it"), rows)]
    return "\n".join(parts).rstrip() + "\n"


def _kib(size: int) -> str:
    return f"{size // 2**20} MiB" if size % 2**20 == 0 else f"{size // 1024} KiB"


def _requests() -> list[tuple[str, str, str]]:
    return [
        ("body of a call", _kib(table.BODY_MAX), "413"),
        ("body of `POST /runs/batch`", _kib(table.BATCH_BODY_MAX), "413"),
        ("runs of a batch", f"{records.BATCH_RUNS_MAX:,}", "413"),
        ("tasks of a batch", f"{records.BATCH_TASKS_MAX:,}", "413"),
        ("body of `POST /import`", _kib(table.IMPORT_BODY_MAX), "413"),
        ("a package", _kib(table.PACKAGE_BODY_MAX), "413"),
        ("a package, unpacked", _kib(archive.TOTAL_MAX), "413"),
        ("files of a package", f"{archive.FILES_MAX:,}", "413"),
        ("body of a call to an agent", _kib(AGENT_BODY_MAX), "413"),
        ("path", f"{guard.PATH_MAX:,} characters", "414"),
        ("query", f"{guard.QUERY_MAX:,} characters", "414"),
        ("headers", f"{guard.HEADERS_MAX} and {_kib(guard.HEADER_BYTES_MAX)}", "431"),
        ("`Idempotency-Key`", f"{dispatch.KEY_MAX} characters", "400"),
        (
            "parameters and labels, or documents, of a page of a list",
            _kib(PAGE_SIZE),
            "the page ends and has a next one",
        ),
        ("items of a page", f"{call.LIMIT_MAX}", "400"),
        ("watchers of the event stream", f"{stream.WATCHERS_MAX:,}", "503"),
        ("names and addresses whose failed logins are counted", f"{lockout.KEPT_MAX:,}", "the oldest is forgotten"),
        ("a connection on which nothing is asked", f"{IDLE_S:g} s", "closed"),
        ("reading on after an early answer", f"{LINGER_S:g} s", "closed"),
    ]


def _documents() -> list[tuple[str, str, str]]:
    return [
        ("nesting, in every format", f"{MAX_DEPTH} levels", "400 or 422"),
        ("JSON", _kib(strict_json.MAX_BYTES), "413"),
        ("EDN", _kib(edn.MAX_BYTES), "413"),
        ("YAML, and what its aliases add", _kib(yaml.MAX_BYTES), "413, 400"),
        ("digits of a number in EDN and YAML", f"{tokens.DIGITS_MAX:,}", "400"),
        ("exponent of a decimal in EDN", f"{tokens.EXPONENT_MAX:,}", "400"),
        ("a whole number", "64 bits", "400"),
        ("a key in one object", "once", "400"),
        ("NaN and infinity", "nowhere", "400"),
        ("tasks of a job", "50,000", "422"),
        ("an expression's text", f"{expression.MAX_TEXT:,} characters", "422"),
        ("steps of one path", f"{expression.MAX_STEPS}", "422"),
        ("a duration", durations.text_of(durations.MAX_MILLIS), "422"),
        ("a label's name, and its value", f"{LABEL_MAX:,} characters", "422"),
        ("the label of an instance, as it is shown", f"{LABEL_MAX:,} characters", "cut"),
        ("a reason", f"{records.REASON_MAX:,} characters", "422"),
    ]


def _log_max() -> int:
    """What an assignment says when it says nothing."""
    return next(f.default for f in fields(Assignment) if f.name == "log_max")


def _values() -> list[tuple[str, str, str]]:
    return [
        ("a run's number", f"{RUN_ID_MAX:,}", "400"),
        ("values shown in one answer", _kib(values.SHOWN_MAX), "left out; the answer says so"),
        ("the result of one task asked for alone", _kib(values.ALONE_MAX), "left out; the answer says so"),
        ("instances whose results are put together", f"{values.GATHER_MAX:,}", "left out; the answer says so"),
        ("the log of an attempt", _kib(_log_max()), "head and tail stay; the log says how much is missing between"),
        ("the result of a command", _kib(RESULT_MAX), "the attempt fails, error `InvalidResult`"),
        ("the text of an exit status", f"{EXIT_STATUS_MAX:,} bytes", "cut"),
        ("files that an attempt leaves", f"{ARTIFACTS_MAX:,}", "the attempt fails, error `OutputsLost`"),
        ("files that a task is given", "no bound", "they travel in pieces"),
        ("a rendered value", _kib(expression.MAX_RENDERED), "the task fails, reason `expression`"),
    ]
