"""``--at`` as a person writes it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from headrace.cli.run import moment
from headrace.model.errors import Invalid

NOW = datetime(2026, 3, 10, 12, 0).astimezone()


def test_without_a_zone_it_is_local_time_and_with_one_it_is_that() -> None:
    assert datetime.fromisoformat(moment("2026-03-11T06:00", NOW)) == datetime(2026, 3, 11, 6).astimezone()
    assert moment("2026-03-11T06:00Z", NOW) == "2026-03-11T06:00:00+00:00"
    assert moment("2026-03-11T06:00+02:00", NOW) == "2026-03-11T06:00:00+02:00"


@pytest.mark.parametrize(("text", "days"), [("18:30", 0), ("06:00", 1), ("12:00", 1), ("1830", 0)])
def test_without_a_day_it_is_the_next_such_time(text: str, days: int) -> None:
    at = datetime.fromisoformat(moment(text, NOW))
    hour, minute = int(text[:2]), int(text[-2:])
    assert at == datetime(2026, 3, 10, hour, minute).astimezone() + timedelta(days=days)


@pytest.mark.parametrize("text", ["soon", "25:00", "2026-02-30T00:00", "9999-99-99"])
def test_what_is_no_instant_is_told(text: str) -> None:
    with pytest.raises(Invalid, match="--at"):
        moment(text, NOW)
