"""The stores that each conformance test runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
from both_stores import Fresh
from postgres_server import postgres_dsn, postgres_server  # noqa: F401 - fixtures


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Fresh:
    """A store with nothing in it."""
    if request.param == "sqlite":
        return Fresh("sqlite", str(tmp_path / "data"))
    return Fresh("postgresql", request.getfixturevalue("postgres_dsn"))
