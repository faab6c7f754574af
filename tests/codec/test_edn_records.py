"""Records in EDN: the same record comes back whichever wire it took, for every record of the route tables."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_strategies import records

from headrace.codec import edn
from headrace.codec.wire import EDN, JSON, MSGPACK, decode, encode
from headrace.control.api.routes import all_routes
from headrace.link import records as link
from headrace.model import schedule
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid

FEW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=250)


def types_of_the_tables() -> dict[str, Any]:
    found: dict[str, Any] = {"JobDefinition": JobDefinition}
    for route in all_routes():
        for type_ in (route.request, route.response):
            if type_ is not None:
                found[repr(type_)] = type_
    for type_ in (
        schedule.Schedule,
        schedule.Calendar,
        schedule.Subscription,
        link.Start,
        link.StopOrder,
        link.Feed,
        link.Held,
        link.Accepted,
    ):
        found[repr(type_)] = type_
    return found


TYPES = types_of_the_tables()


@pytest.mark.parametrize("type_", TYPES.values(), ids=[name.split("'")[-2] if "'" in name else name for name in TYPES])
def test_a_record_survives_edn_as_it_survives_json(type_):
    survive(type_, FEW)


@pytest.mark.tail
@pytest.mark.parametrize("type_", TYPES.values(), ids=[name.split("'")[-2] if "'" in name else name for name in TYPES])
def test_a_record_survives_edn_hundreds_of_times(type_):
    survive(type_, MANY)


def survive(type_: Any, often: settings) -> None:
    @often
    @given(records(type_))
    def holds(value: Any) -> None:
        by_json = msgspec.json.decode(msgspec.json.encode(value), type=type_)
        text = edn.write(value)
        assert edn.read_record(text, type_) == by_json == value
        assert edn.read_record(edn.indented(text).encode(), type_) == value

    holds()


class Made(msgspec.Struct, frozen=True):
    """What a user's own function takes or gives."""

    at: dt.datetime
    day: dt.date
    id: UUID
    price: Decimal
    data: bytes
    wait: dt.timedelta
    tags: frozenset[str]
    more: dict[str, Any]


MADE = st.builds(
    Made,
    at=st.datetimes(timezones=st.just(dt.UTC)),
    day=st.dates(),
    id=st.uuids(),
    price=st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: abs(d.as_tuple().exponent) < 6_000),
    data=st.binary(),
    wait=st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(days=1000)),
    tags=st.frozensets(st.text(st.characters(exclude_categories=["Cs"]))),
    more=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1)),
)


@given(MADE)
def test_user_data_keeps_its_types_through_its_schema(value):
    assert decode(encode(value, EDN), EDN, Made) == value
    assert decode(encode(value, JSON), JSON, Made) == value
    assert decode(encode(value, MSGPACK), MSGPACK, Made) == value


@given(MADE)
def test_what_edn_has_a_word_for_becomes_the_text_that_json_has_for_it(value):
    """A run's parameters come in without a Python type: EDN's own values must then read like their JSON."""
    by_edn = edn.read_plain(edn.write({"given": value.id, "at": value.at, "price": value.price}), Any)
    by_json = msgspec.to_builtins({"given": value.id, "at": value.at, "price": value.price})
    assert msgspec.convert(by_edn, dict[str, str]).keys() == by_json.keys()
    assert UUID(by_edn["given"]) == value.id
    assert dt.datetime.fromisoformat(by_edn["at"]) == value.at
    assert Decimal(by_edn["price"]) == value.price


def read(text: str) -> JobDefinition:
    return edn.read_record(text.encode(), JobDefinition)


TASK = '[{:name "a" :command ["x"]}]'


def test_a_field_is_known_with_its_namespace_without_it_and_as_text():
    wanted = read(f'{{:job/name "j" :job/tasks {TASK}}}')
    assert read(f'{{:name "j" :tasks {TASK}}}') == wanted
    assert read(f'{{"name" "j" "tasks" {TASK}}}') == wanted
    assert read(f'#:job{{:name "j" :tasks {TASK}}}') == wanted


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (f'{{:task/name "j" :job/tasks {TASK}}}', '["task/name"]', "unknown field"),
        (f"{{:job/name :j :job/tasks {TASK}}}", "name", "not the keyword ':j'"),
        (f"{{:job/name j :job/tasks {TASK}}}", "", "a symbol has no place here"),
        (f'{{:job/name "j" :name "j" :job/tasks {TASK}}}', "name", "twice, under two names"),
        (f'{{:job/name "j" :job/params {{1 2}} :job/tasks {TASK}}}', "params", "a key must be text or a keyword"),
        (f'{{:job/name "j" :job/params {{"a" {{"b" 1 :b 2}}}} :job/tasks {TASK}}}', "params.a.b", "twice, as a keyword and as text"),
        (f'{{:job/name "j" :job/params [1 {{[1] 2}}] :job/tasks {TASK}}}', "params[1]", "a key must be text"),
        (f'{{:job/name "j" :job/on_failure :halt :job/tasks {TASK}}}', "on_failure", "expected one of continue, stop"),
        (f'{{:job/name "j" :job/on_failure :x/stop :job/tasks {TASK}}}', "on_failure", "not the keyword ':x/stop'"),
        (f'{{:job/name "j" :job/priority 1.0M :job/tasks {TASK}}}', "priority", "not the decimal '1.0'"),
        ('{:job/name "j" :job/tasks {}}', "tasks", "expected a list"),
        ('{:job/name "j" :job/tasks #{[{"a" 1}]}}', "tasks[0]", "expected an object, not a list"),
        ("[:job/name]", "", "expected an object, not a list"),
        (":job/name", "", "expected an object, not the keyword ':job/name'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_record_is_told_with_its_path(text, path, words):
    with pytest.raises(Invalid) as caught:
        read(text)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert words in found[path], found


def test_user_data_may_be_written_as_edn_writes_it():
    job = read(
        '{:job/name "j" :job/tasks [{:name "a" :python "m:f" :with {:at #inst "2026-03-29T02:00:00+02:00" :day #inst "2026-03-29" :x/y :pdf'
        ' "price" 1.50M "id" #uuid "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" "letters" (\\a \\b) "set" #{1}}}]}'
    )
    assert job.tasks[0].with_ == {
        "at": "2026-03-29T00:00:00Z",
        "day": "2026-03-29",
        "x/y": "pdf",
        "price": "1.50",
        "id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "letters": ["a", "b"],
        "set": [1],
    }


def test_a_day_is_an_instant_where_one_is_wanted():
    class At(msgspec.Struct):
        at: dt.datetime
        day: dt.date | None = None

    read = edn.read_record(b'{:at #inst "2026-03-29" :day #inst "2026-03-29"}', At)
    assert (read.at, read.day) == (dt.datetime(2026, 3, 29, tzinfo=dt.UTC), dt.date(2026, 3, 29))
    assert edn.read_record(edn.write(read), At) == read
