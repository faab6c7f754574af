"""What is written as YAML is read again as the same data."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from codec_strategies import DEFINITIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec import yaml, yaml_text

ODD = st.sampled_from(
    ["", " ", "~", "null", "on", "yes", "True", "true", "1e5", "0o17", "0600", "12:30", "2026-03-29", "1_000", ".5", "+1",
     "- a", "a: b", "#", "a #b", "x\n", "x\n\n", "\nx", " x\ny", "x \ny", "x\n y\n", "\t", "x\r\ny", "\u2028", "\ufeff", "\x85",
     "${a}", "$${", "@x", "`", "%", "&a", "*a", "!t", "|", ">", "'", '"', "?", ":", "=", "<<", "0x1F", "1" * 2000,
     "x" * 300, "ü" * 200, "[", "{", ", ", "---", "...", "a\n---\nb", "a\n...\n"]
)  # fmt: skip
TEXT = st.one_of(ODD, st.text(max_size=20), st.text("ab \n\t:#-", max_size=12))
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
DATA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(DATA)
def test_any_data_is_read_again_as_it_was(data: Any) -> None:
    again = yaml.loads(yaml_text.dumps(data).encode())
    assert msgspec.json.encode(again) == msgspec.json.encode(data)


@settings(max_examples=25, deadline=None)
@given(DEFINITIONS)
def test_a_definition_is_read_again_as_it_was(data: dict[str, Any]) -> None:
    plain = msgspec.to_builtins(data)
    again = yaml.loads(yaml_text.dumps(plain).encode())
    assert msgspec.json.encode(again) == msgspec.json.encode(plain)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"b": 1, "a": [1, {"x": "y", "z": []}]}, "b: 1\na:\n  - 1\n  - x: y\n    z: []\n"),
        ({"script": "set -e\n  echo 1\n"}, "script: |\n  set -e\n    echo 1\n"),
        ({"a": "on", "b": "1e5", "c": "0o17", "d": "plain ${x}"}, 'a: \'on\'\nb: "1e5"\nc: "0o17"\nd: plain ${x}\n'),
    ],
)
def test_it_looks_as_people_write_it(data: Any, text: str) -> None:
    assert yaml_text.dumps(data) == text
