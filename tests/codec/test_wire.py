from __future__ import annotations

import datetime as dt

import msgspec
import pytest
from codec_strategies import DEFINITIONS
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.wire import EDN, JSON, MEDIA, MSGPACK, YAML, decode, encode, media_of, plain
from headrace.core.check import check, warnings
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, NotAvailable


@given(DEFINITIONS, st.sampled_from([JSON, MSGPACK]))
def test_a_definition_survives_every_wire(definition, media):
    assert decode(encode(definition, media), media, JobDefinition) == definition


@given(DEFINITIONS)
def test_json_and_msgpack_say_the_same(definition):
    assert plain(encode(definition, JSON), JSON) == plain(encode(definition, MSGPACK), MSGPACK)


@given(DEFINITIONS)
def test_any_definition_can_be_checked(definition):
    for problem in [*check(definition), *warnings(definition)]:
        assert problem.message


@pytest.mark.parametrize(
    ("header", "media"),
    [("application/json; charset=utf-8", JSON), ("Application/JSON", JSON), ("application/x-msgpack", MSGPACK),
     ("text/yaml", YAML), (" application/edn ;v=1", EDN)],
)  # fmt: skip
def test_a_content_type_is_read_without_its_parameters(header, media):
    assert media_of(header) == media


def test_an_unknown_media_type_names_the_known_ones():
    with pytest.raises(Invalid, match="did you mean 'application/json'") as caught:
        media_of("application/jsn")
    assert caught.value.status == 400


def test_every_media_type_has_a_reader_and_only_yaml_is_never_written():
    assert {media for media in MEDIA.values() if _reads(media)} == {JSON, MSGPACK, YAML, EDN}
    with pytest.raises(NotAvailable, match="read as YAML"):
        encode({}, YAML)


def _reads(media):
    try:
        plain(msgspec.msgpack.encode({}) if media == MSGPACK else b"{}", media)
    except NotAvailable:
        return False
    return True


def deep(levels):
    value = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: "a"}, "keys must be text"),
        ([{"a": {b"x": 1}}], "keys must be text"),
        ([b"bytes"], "not bytes"),
        ([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], "not datetime"),
        ([float("nan")], "NaN"),
        ([float("-inf")], "NaN and Infinity"),
        (deep(101), "deeper than 100"),
        (deep(600), "deeper than 100"),
    ],
)
def test_msgpack_carries_only_what_json_has(value, message):
    with pytest.raises(Invalid, match=message) as caught:
        plain(msgspec.msgpack.encode(value), MSGPACK)
    assert caught.value.status == 400


def test_msgpack_of_the_permitted_depth_is_read():
    assert plain(msgspec.msgpack.encode(deep(100)), MSGPACK) == deep(100)


@given(st.binary(max_size=80))
def test_any_msgpack_is_read_or_refused(data):
    try:
        decode(data, MSGPACK, JobDefinition)
    except Invalid as error:
        assert error.status in {400, 422}  # noqa: PT017  bytes may also be good
