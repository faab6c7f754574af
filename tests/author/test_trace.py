"""Tracing: what a job's body becomes, and that everything it cannot say is refused with file, line and the way out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import pytest

from headrace import Context, Job, Param, TraceError, command, container, first, job, script, task, when
from headrace.author.job import JobFunction
from headrace.model.errors import Invalid


@task
def make(n: int) -> dict[str, Any]:
    return {"n": n}


@task(retries=3, retry_on=(ValueError, OSError), timeout=90, name="uses_it")
def use(ctx: Context, x: object, *rest: int, y: int = 1, **more: object) -> list[int]:
    return [y]


@dataclasses.dataclass
class Box:
    a: object
    b: int = 2


def tasks_of(j: JobFunction[..., Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.to_builtins(j.definition())["tasks"]
    return found


def test_calls_become_tasks_with_names_arguments_and_expressions() -> None:
    @job
    def flow(day: date, title: str = "t") -> Any:
        """About it."""
        a = make(1)
        b = use({"k": [a["x"], a.field[0], a["odd key"]], "box": Box(a)}, 7, y=2, z=f"{title} of {day}")
        use(b)
        return a

    document = msgspec.to_builtins(flow.definition())
    assert document["description"] == "About it."
    assert document["result"] == "${tasks.make.result}"
    names = [t["name"] for t in document["tasks"]]
    assert names == ["make", "uses-it", "uses-it-2"]
    assert document["tasks"][1]["with"] == {
        "x": {
            "k": ["${tasks.make.result.x}", "${tasks.make.result.field[0]}", '${tasks.make.result["odd key"]}'],
            "box": {"a": "${tasks.make.result}", "b": 2},
        },
        "rest": [7],
        "y": 2,
        "z": "${params.title} of ${params.day}",
    }
    assert document["tasks"][1]["retries"] == {"max": 3, "only": ["ValueError", "OSError"]}
    assert document["tasks"][1]["timeout"] == "90s"
    assert document["tasks"][0]["python"] == f"{__name__}:make"


def test_map_after_options_when_and_first() -> None:
    @job
    def flow(kind: str) -> None:
        m = make.map([1, 2])
        make.after(m, state=["failed", "skipped"], exit="E*").options(name="late", on_lost="fail")(3)
        with when(kind == "pdf"), when(~(m[0] > 3)):
            a = make(4)
        use(first(a, m)["k"])

    mapped, late, a, last = tasks_of(flow)
    assert (mapped["each"], mapped["with"]) == ([1, 2], {"n": "${item}"})
    assert late["name"] == "late"
    assert late["needs"] == [{"task": "make", "state": ["failed", "skipped"], "exit": "E*"}]
    assert a["when"] == {
        "all": [
            {"value": "${params.kind}", "eq": "pdf"},
            {"not": {"value": "${tasks.make.result[0]}", "gt": 3}},
        ]
    }
    assert last["with"]["x"] == "${tasks.make-2.result.k ?? tasks.make.result.k}"
    assert [n["state"] for n in last["needs"]] == [["succeeded", "skipped"]] * 2


def test_commands_scripts_and_kinds_of_later_versions_have_their_document_form() -> None:
    @job
    def flow(n: int) -> None:
        a = command("curl", "-o", n, outputs=["x"])
        script("echo", after=[a], env={"N": n})
        container("plots:1", "plot", a)

    a, b, c = tasks_of(flow)
    assert a == {"name": "curl", "command": ["curl", "-o", "${params.n}"], "outputs": ["x"]}
    assert b == {"name": "script", "script": "echo", "needs": ["curl"], "env": {"N": "${params.n}"}}
    assert c["container"] == {"image": "plots:1", "command": ["plot", "${tasks.curl.result}"]}


def test_an_async_job_awaits_its_tasks() -> None:
    @task
    async def fetch(n: int) -> int:
        return n

    @job
    async def flow() -> int:
        return await fetch(await fetch(1))

    assert [t["name"] for t in tasks_of(flow)] == ["fetch", "fetch-2"]


def test_parameters_become_a_schema() -> None:
    @job
    def flow(
        a: Annotated[int, Param(ge=0, help="how many")], b: Literal["x", "y"] = "x", c: date | None = None
    ) -> None:
        make(a)

    params = msgspec.to_builtins(flow.definition())["params"]
    assert params["required"] == ["a"]
    assert params["properties"]["a"] == {"type": "integer", "minimum": 0, "description": "how many"}
    assert params["properties"]["b"] == {"enum": ["x", "y"], "default": "x"}
    assert params["properties"]["c"]["default"] is None


MISUSE: dict[str, Callable[[Any], object]] = {
    "if": lambda x: 1 if x else 2,
    "for": lambda x: list(x),
    "len": lambda x: len(x),
    "plus": lambda x: x + 1,
    "radd": lambda x: 1 + x,
    "in": lambda x: 1 in x,
    "call": lambda x: x.strip(),
    "negative": lambda x: x[-1],
    "slice": lambda x: x[1:],
    "hash": lambda x: {x: 1},
    "format": lambda x: f"{x:>3}",
    "compare": lambda x: bool(x == 1),
    "int": lambda x: int(x),
    "set": lambda x: setattr(x, "a", 1),
    "item": lambda x: x.__setitem__("a", 1),
    "with": lambda x: x.__enter__(),
    "missing argument": lambda x: make(),  # type: ignore[call-arg]  # reason: that is what is tested
    "unknown argument": lambda x: make(n=1, q=x),  # type: ignore[call-arg]  # reason: that is what is tested
}


@pytest.mark.parametrize("what", MISUSE)
def test_what_cannot_be_traced_is_refused_with_file_and_line(what: str) -> None:
    misuse = MISUSE[what]

    @job
    def flow() -> None:
        misuse(make(1))

    with pytest.raises(TraceError) as caught:
        flow.definition()
    assert caught.value.file == __file__
    assert caught.value.line == misuse.__code__.co_firstlineno
    assert len(str(caught.value)) > 40


def test_outside_a_body_a_call_calls_and_nothing_is_recorded() -> None:
    assert make(2) == {"n": 2}
    assert make.map([1, 2]) == [{"n": 1}, {"n": 2}]
    assert use(1, y=5) == [5]
    with pytest.raises(TraceError):
        command("ls")


def test_an_unknown_option_and_an_empty_body_are_refused() -> None:
    with pytest.raises(Invalid, match="retrys"):
        task(retrys=3)  # type: ignore[call-overload]  # reason: that is what is tested

    @job
    def empty() -> None: ...

    with pytest.raises(TraceError, match="adds no task"):
        empty.definition()


def test_a_builder_writes_the_same_document() -> None:
    built = Job("b").task("a", make, with_={"n": 1}).task("c", command=["ls"], needs=["a"]).definition()
    assert msgspec.to_builtins(built)["tasks"] == [
        {"name": "a", "python": f"{__name__}:make", "with": {"n": 1}},
        {"name": "c", "command": ["ls"], "needs": ["a"]},
    ]


def test_a_dict_whose_keys_json_cannot_give_back_is_refused_where_it_is_passed() -> None:
    @job
    def passes() -> None:
        use({(1, 2): 3})

    with pytest.raises(TraceError, match=r"a key of type tuple \(\(1, 2\)\).*pass a list of pairs"):
        passes.definition()
