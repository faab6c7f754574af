"""The API keeps to the description that it serves: requests made from it, in JSON and EDN, answered as it says.

schemathesis makes the requests. No answer is a 5xx but "not now"; status, type and body are those of the description.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import Served, served

from headrace.codec import edn
from headrace.control.api.openapi import openapi
from headrace.control.api.routes import all_routes
from headrace.control.auth import Role

SHORT, LONG, SHARDS = 220, 20_000, 4
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROUTES = {route.operation: route for route in all_routes()}
KNOWN = {
    "id": (1, 2, 3, 99),
    "name": ("hello", "a", "x-1"),
    "task": ("say", "nobody"),
    "index": (0, 7),
    "version": (1, 2),
}
"""Values of placeholders that name something, every other time."""
REFUSALS = {501, 503, 507}
"""Not here, not now, no room on the disk: said on purpose, and described."""
LEFT_OUT = {"post_logout"}
"""Calls that end the credential of those behind them."""


@schemathesis.serializer("application/edn")
def to_edn(ctx: Any, value: Any) -> bytes:
    """Whatever was made, with keywords as keys."""
    return edn.write(value, ours=True)


@schemathesis.serializer("application/merge-patch+json")
def to_json(ctx: Any, value: Any) -> bytes:
    return json.dumps(value).encode()


@schemathesis.serializer("application/msgpack")
def to_msgpack(ctx: Any, value: Any) -> bytes:
    """What MessagePack has no number for is sent as nonsense."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return b"\xc1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("schema")) as found:
        yield found


def described() -> Any:
    """The description of what is served; sockets are no calls."""
    document = openapi(all_routes())
    for path in list(document["paths"]):
        if path.endswith("/events/stream"):
            del document["paths"][path]
    return schemathesis.openapi.from_dict(document)


def send(case: Any, server: Served, session: requests.Session, number: int) -> requests.Response:
    """One request; every other one names things that are there, and asks for EDN."""
    if number % 2:
        for name in case.path_parameters or {}:
            if name in KNOWN:
                values = KNOWN[name]
                case.path_parameters[name] = values[number // 2 % len(values)]
    accept = ("application/json", "application/edn")[number // 2 % 2]
    headers = {"Authorization": f"Bearer {server.tokens[Role.admin]}", "Accept": f"{accept}, */*;q=0.1"}
    case.query = {name: value for name, value in (case.query or {}).items() if name not in {"wait", "follow"}}
    return case.call(base_url=server.url, session=session, headers=headers, timeout=30)


def keeps_to_it(case: Any, response: Any) -> None:
    """The answer is one of those described; EDN is read by the type that the table names."""
    checks = CHECKS[1:] if response.status_code in REFUSALS else CHECKS
    if response.headers.get("content-type", [""])[0] != "application/edn":
        case.validate_response(response, checks=checks)
        return
    case.validate_response(response, checks=[check for check in checks if check is not response_schema_conformance])
    route = ROUTES[case.operation.definition.raw["operationId"]]
    wanted = route.response if response.status_code < 400 and route.also is None else None
    edn.read_record(response.content, Any if wanted is None else wanted)


SLOW = {"post_backup": 0.15, "post_restore": 0.3}
"""Each of these begins a process."""


def weight(operation: Any) -> float:
    """How many requests of this call for one of an ordinary one: definitions take long to make up, fixed answers are few."""
    raw = operation.definition.raw
    if raw["operationId"] in SLOW:
        return SLOW[raw["operationId"]]
    if raw["operationId"].startswith("get_api_"):
        return 0.15
    if "JobDefinition" in str(raw.get("requestBody")) or raw["operationId"] in {
        "post_runs",
        "post_runs_batch",
        "post_import",
    }:
        return 0.34
    return 1.0 if raw["parameters"] else 0.5


def run(server: Served, wanted: int, seed: int) -> Counter[int]:
    """So many requests over all operations, by their weights; how often each status came."""
    statuses: Counter[int] = Counter()
    operations = [result.ok() for result in described().get_all_operations()]
    operations = [one for one in operations if one.definition.raw["operationId"] not in LEFT_OUT]
    each = wanted / sum(map(weight, operations))
    with requests.Session() as session:
        for operation in operations:
            _one(operation, server, session, math.ceil(each * weight(operation)), statuses, seed)
    return statuses


def _one(
    operation: Any, server: Served, session: requests.Session, each: int, statuses: Counter[int], seed: int
) -> None:
    number = 0

    @hypothesis.seed(seed)
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def asks(case: Any) -> None:
        nonlocal number
        number += 1
        response = send(case, server, session, number)
        statuses[response.status_code] += 1
        keeps_to_it(case, response)

    asks()


def test_every_answer_is_as_the_description_says(server: Served) -> None:
    statuses = run(server, SHORT, 1)
    assert statuses[200] > 20
    assert statuses.total() > SHORT / 2, statuses


@pytest.mark.tail
@pytest.mark.timeout(1400)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_answer_is_as_the_description_says_twenty_thousand_times(server: Served, shard: int) -> None:
    wanted = LONG // SHARDS
    assert run(server, wanted + wanted // 20, 10 + shard).total() >= wanted, (
        "some calls have fewer questions than asked"
    )
