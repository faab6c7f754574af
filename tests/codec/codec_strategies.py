"""Random definitions for property tests: any shape the schema permits, sense or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from headrace.model.definition import (
    AgentChoice,
    AnyNeed,
    Condition,
    EachOf,
    JobDefinition,
    Need,
    Retries,
    Task,
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,5}", fullmatch=True)
TEXTS = st.text(max_size=8)
WORDS = st.sampled_from(["succeeded", "failed", "skipped", "canceled", "ended"])
SPANS = st.sampled_from(["250ms", "5s", "10m", "2h", "1d", "1.5s"])
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(TEXTS, TEXTS, max_size=3)
LABEL_TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
LABELS = st.dictionaries(LABEL_TEXTS, LABEL_TEXTS, max_size=2)


def some(type_: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records of a type with any subset of these fields."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: type_(**given))


NEEDS = st.builds(Need, task=NAMES, state=WORDS | st.lists(WORDS, max_size=2), exit=TEXTS) | st.builds(Need, task=NAMES)
CONDITIONS: st.SearchStrategy[Any] = st.recursive(
    some(Condition, value=VALUES, eq=VALUES, in_=VALUES, glob=TEXTS, exists=st.booleans()),
    lambda inner: some(Condition, all=st.lists(inner, max_size=2), not_=inner),
    max_leaves=4,
)
RETRIES = some(
    Retries,
    max=st.integers(0, 9),
    delay=SPANS,
    backoff=st.floats(1, 100),
    jitter=st.floats(0, 1),
    only=st.lists(TEXTS, max_size=2),
)
TASKS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "command": st.lists(TEXTS, min_size=1, max_size=3), "script": TEXTS, "python": TEXTS, "description": TEXTS,
        "needs": st.lists(NAMES | NEEDS, max_size=3) | st.builds(AnyNeed, any=st.lists(NAMES | NEEDS, min_size=1, max_size=2)),
        "when": CONDITIONS, "label": TEXTS, "with_": st.dictionaries(TEXTS, VALUES, max_size=3),
        "each": TEXTS | st.lists(VALUES, max_size=3) | some(EachOf, zip=st.lists(VALUES, max_size=2)),
        "env": TABLES, "outputs": st.lists(TEXTS, max_size=2), "retries": st.integers(0, 9) | RETRIES, "timeout": SPANS,
        "finally_": st.booleans(), "allow_failure": st.booleans(), "on_lost": st.sampled_from(["retry", "fail", "ask"]),
        "agent": some(AgentChoice, labels=LABELS, id=TEXTS), "priority": st.integers(-100, 100),
    },
).map(lambda given: Task(**given))  # fmt: skip
DEFINITIONS = st.fixed_dictionaries(
    {"name": NAMES, "tasks": st.lists(TASKS, min_size=1, max_size=3)},
    optional={
        "description": TEXTS, "params": st.dictionaries(TEXTS, VALUES, max_size=3), "result": VALUES,
        "on_failure": st.sampled_from(["continue", "stop"]), "timeout": SPANS, "labels": LABELS, "packages": TABLES,
    },
).map(lambda given: JobDefinition(**given))  # fmt: skip
