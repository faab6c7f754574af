"""The stores that each conformance test runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
from both_stores import Fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Fresh:
    """A store with nothing in it."""
    if request.param == "sqlite":
        return Fresh("sqlite", str(tmp_path / "data"))
    return Fresh("postgresql", request.getfixturevalue("postgres_dsn"))
