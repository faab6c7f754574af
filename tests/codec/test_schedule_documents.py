"""Documents of CONTRACT.md §2: read whole, strict, published as JSON Schema, and not yet acted upon."""

from __future__ import annotations

import json

import jsonschema
import pytest

from headrace.codec.documents import definition_from, read_document
from headrace.codec.schema import schemas
from headrace.codec.shape import problems_of, shape
from headrace.codec.wire import JSON, encode
from headrace.codec.yaml import loads
from headrace.core.check import NOT_YET, check
from headrace.model.errors import Invalid
from headrace.model.schedule import Calendar, Schedule, Subscription

SCHEDULE = b"""
name: nightly-close
job: close-books
cron: "30 1 * * 1-5"
timezone: Europe/Zurich
calendar: ch-banking
substitute: drop
dst: {gap: after, fold: first}
misfire: {do: once, within: 6h, limit: 100}
overlap: queue
window: {from: 2026-01-01, until: 2027-01-01}
jitter: 0s
paused: false
params: {day: "${fire.business_date}"}
monitors: [{after: 30m, do: alert}, {after: 3h, do: stop}, {by: "06:00", do: alert, at_risk: true}]
"""
CALENDAR = b"""
name: ch-banking
day_start: "02:00"
weekly_off: [sat, sun]
days_off: [2026-08-01, {from: 2026-12-24, until: 2026-12-26}, {month: 1, day: 2}]
countries: [CH, US-CA]
working: [2026-12-27]
include: [bank]
exclude: [school]
"""
SUBSCRIPTION = b"""
name: tell-ops
when: {job: "nightly-*", state: [failed, canceled], exit: "NO_*", subject: "runs/*"}
deliver: {mail: [ops@example.test]}
template: "{{ run.id }}"
secret: mail-key
"""
DOCUMENTS = [
    ("schedule", Schedule, SCHEDULE),
    ("calendar", Calendar, CALENDAR),
    ("subscription", Subscription, SUBSCRIPTION),
]


@pytest.mark.parametrize(("noun", "type_", "text"), DOCUMENTS)
def test_the_documents_of_the_contract_are_read_whole(noun, type_, text):
    data = loads(text)
    record = shape(data, type_)
    jsonschema.validate(data, schemas()[noun])
    written = json.loads(encode(record, JSON))
    assert shape(written, type_) == record
    assert written.keys() <= data.keys()
    jsonschema.validate(written, schemas()[noun])


def test_triggers_are_nested_as_deep_as_they_are_written():
    trigger = {"any": [{"cron": "0 1 * * *"}, {"every": "15m", "anchor": "2026-01-01T00:00:00Z"}],
               "but_not": {"at": ["2026-12-25T01:00:00Z"]}}  # fmt: skip
    assert shape({"name": "a", "job": "b", **trigger}, Schedule).any[1].every == "15m"


@pytest.mark.parametrize(
    ("type_", "given", "path"),
    [
        (Schedule, {"name": "a", "job": "b", "crn": "* * * * *"}, "crn"),
        (Schedule, {"name": "a"}, ""),
        (Schedule, {"name": "a", "job": "b", "misfire": {"doo": "once"}}, "misfire.doo"),
        (Schedule, {"name": "a", "job": "b", "overlap": "wait"}, "overlap"),
        (Schedule, {"name": "a", "job": "b", "monitors": [{"by": "6 am"}]}, "monitors[0].by"),
        (Calendar, {"name": "a", "weekly_off": ["saturday"]}, "weekly_off[0]"),
        (Calendar, {"name": "a", "days_off": [{"form": "2026-01-01"}]}, "days_off[0].form"),
        (Calendar, {"name": "a", "countries": ["Switzerland"]}, "countries[0]"),
        (Subscription, {"name": "a", "when": {}, "deliver": {"male": "x"}}, "deliver.male"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(type_, given, path):
    assert [p.path for p in problems_of(given, type_)] == [path]


def test_schedules_in_a_job_are_read_strictly_and_are_not_available_yet():
    text = b"""name: j
tasks: [{name: a, command: ["true"]}]
schedules:
  - crn: "30 1 * * *"
notify:
  - when: {state: failed}
    deliver: {webhok: "https://example.test"}
"""
    with pytest.raises(Invalid) as told:
        definition_from(read_document(text, media="application/yaml"), check)
    found = {(p.path, p.line): p.message for p in told.value.problems}
    assert "did you mean 'cron'" in found["schedules[0].crn", 4]
    assert "did you mean 'webhook'" in found["notify[0].deliver.webhok", 7]
    good = text.replace(b"crn", b"cron").replace(b"webhok", b"webhook")
    with pytest.raises(Invalid) as told:
        definition_from(read_document(good, media="application/yaml"), check)
    assert [p.message for p in told.value.problems] == [f"{NOT_YET}schedules of a job", f"{NOT_YET}notify of a job"]
