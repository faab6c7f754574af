"""What the wires cost: a record of ten fields, read and written in each format. CPU time, the best of many rounds.

    python bench/codec.py [--rounds 40]

EDN's codec is ours and pure Python; msgspec's JSON and the standard library's stand beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from headrace.codec import edn
from headrace.model.document import State

CALLS = 500


class Ten(msgspec.Struct, frozen=True, kw_only=True):
    """Ten fields of the kinds that ours have."""

    edn_namespace: ClassVar[str] = "run"

    id: int
    job: str
    version: int
    state: State
    exit_status: str | None
    priority: int
    labels: dict[str, str]
    reason: str
    created_at: datetime
    exclusive: bool


RECORD = Ten(
    id=4711,
    job="nightly-report",
    version=3,
    state="succeeded",
    exit_status=None,
    priority=0,
    labels={"team": "sales"},
    reason="by hand",
    created_at=datetime(2026, 3, 29, 1, 30, 0, 123456, UTC),
    exclusive=False,
)


def cases() -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    as_edn, as_json = edn.write(RECORD), msgspec.json.encode(RECORD)
    assert edn.read_record(as_edn, Ten) == RECORD == msgspec.json.decode(as_json, type=Ten)
    plain = json.loads(as_json)
    return {
        "EDN: record from text": lambda: edn.read_record(as_edn, Ten),
        "EDN: values from text": lambda: edn.loads(as_edn),
        "EDN: text from record": lambda: edn.write(RECORD),
        "JSON, msgspec: record from text": lambda: msgspec.json.decode(as_json, type=Ten),
        "JSON, msgspec: text from record": lambda: msgspec.json.encode(RECORD),
        "JSON, standard library: dict from text": lambda: json.loads(as_json),
        "JSON, standard library: text from dict": lambda: json.dumps(plain),
    }


def main() -> None:
    """Interleaved, so that a slow moment of the machine meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    measured = cases()
    best = dict.fromkeys(measured, float("inf"))
    for _ in range(rounds):
        for name, call in measured.items():
            start = time.process_time()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], (time.process_time() - start) / CALLS)
    for name, seconds in best.items():
        print(f"{name:<42} {seconds * 1e6:7.2f} µs")


if __name__ == "__main__":
    main()
