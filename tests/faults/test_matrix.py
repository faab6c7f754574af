"""kill -9 at every fault point, on both stores: up starts again what died, everything goes on, no promise is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matrix import BOTH, POINTS, Point

from harness import Load, Server, as_url, inspect

ROOT = Path(__file__).parents[2]
CALL = re.compile(r'fault\("([a-z_]+\.[a-z_]+)"\)')


def in_source() -> dict[str, set[str]]:
    """Every literal of a fault point, with the rooms it stands in."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src/headrace").rglob("*.py"):
        if path.name != "ports.py":
            for name in CALL.findall(path.read_text()):
                found.setdefault(name, set()).add(path.relative_to(ROOT / "src/headrace").as_posix())
    return found


def test_every_fault_point_of_the_source_is_in_the_matrix() -> None:
    points = [p.name for p in POINTS]
    assert len(points) == len(set(points)) >= 30
    assert set(in_source()) == set(points)


def test_the_matrix_says_whose_each_point_is_and_on_which_store() -> None:
    found = in_source()
    for point in POINTS:
        rooms = found[point.name]
        assert {room.startswith("agent/") for room in rooms} == {point.who == "agent"}, point.name
        stores = {store for store in BOTH if any(f"store/{store[:8]}" in room for room in rooms)} or set(BOTH)
        assert stores == set(point.stores), point.name


def test_points_that_up_never_passes_are_struck_elsewhere() -> None:
    for point in POINTS:
        if point.elsewhere:
            assert point.name in (ROOT / point.elsewhere).read_text()


def cases(*, dense: bool) -> list[object]:
    return [
        pytest.param(point, nth, store, id=f"{point.name}-{nth}-{store}")
        for point in POINTS
        if not point.elsewhere
        for store in point.stores
        for nth in (point.more if dense else (point.nth,))
        if not (dense and nth == point.nth)
    ]


@pytest.mark.parametrize(("point", "nth", "store"), cases(dense=False))
def test_killed_at_the_point_everything_goes_on(
    point: Point, nth: int, store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kill_and_check(point, nth, store, folder=tmp_path, request=request)


@pytest.mark.tail
@pytest.mark.parametrize(("point", "nth", "store"), cases(dense=True))
def test_killed_at_other_passes_of_the_point(
    point: Point, nth: int, store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kill_and_check(point, nth, store, folder=tmp_path, request=request)


def kill_and_check(point: Point, nth: int, store: str, *, folder: Path, request: pytest.FixtureRequest) -> None:
    """One server that is killed once at this point under load, and heals itself; then the whole store is judged."""
    empty = "empty_postgres_dsn" if "migration" in point.name else "postgres_dsn"
    dsn: str = request.getfixturevalue(empty) if store == "postgresql" else ""
    marks = folder / "marks"
    marks.mkdir()
    environ = {
        "HEADRACE_FAULT": f"{point.name}:kill:{nth}",
        "HEADRACE_FAULT_MARKS": str(marks),
        "HEADRACE_ALLOW_FAULTS": "1",
    }
    server = Server(folder / "data", store=as_url(dsn) if dsn else "", environ=environ)
    try:
        load = Load(server.start(), folder).submit().finish()
        assert [p.name for p in marks.iterdir()] == [point.name], f"never passed {nth} times\n{server.words()}"
        victim = int((marks / point.name).read_text())
        assert victim not in (server.control(), server.agent())
        family = server.family()
        assert server.end() == 0, server.words()
        server.gone(family)
    finally:
        server.kill_all()
    assert not inspect(folder / "data", dsn, lambda opened: load.broken(opened, lost=point.who == "agent"))
