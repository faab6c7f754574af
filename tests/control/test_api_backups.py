"""Backups over the API: made beside the work, listed, handed out whole, removed; a restore ends this life of control."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_world import HELLO, World, run_async

from headrace.control.auth import Role
from headrace.control.backup.process import work
from headrace.control.backup.service import ASKED, REFUSED, Backups
from headrace.control.backup.work import Work
from headrace.control.clock import SystemClock
from headrace.model.errors import Invalid


def serve(world: World, told: list[str]) -> Backups:
    backups = Backups(world.data, "", SystemClock())
    world.serve(backups=backups, begin_anew=told.append)
    return backups


@run_async
async def test_a_backup_is_made_listed_handed_out_and_removed(tmp_path: Path) -> None:
    async with World(tmp_path / "data") as world:
        serve(world, [])
        await world.put("/jobs/hello", HELLO)
        await world.post("/jobs/hello/runs", {})
        made = await world.post("/backup", {"name": "a.hrb"})
        assert made.status == 201
        assert made.headers["location"] == "/api/v1/backups/a.hrb"
        assert (made.json["rows"]["run"], made.json["store"], made.json["troubles"]) == (1, "sqlite", [])
        assert (await world.post("/backup", {"name": "a.hrb"})).status == 409
        assert (await world.post("/backup", {"name": "../a"})).status == 422
        second = (await world.post("/backup")).json["name"]
        listed = (await world.get("/backups")).json["items"]
        assert [item["name"] for item in listed] == ["a.hrb", second]
        got = await world.get("/backups/a.hrb")
        assert len(got.body) == made.json["size"] == listed[0]["size"]
        file = tmp_path / "got.hrb"
        file.write_bytes(got.body)
        assert work(Work(do="check", file=str(file))).size == made.json["size"]
        assert (await world.get("/backups/a.hrb?check=true")).json == made.json
        assert (await world.call("DELETE", "/api/v1/backups/a.hrb")).status == 204
        assert (await world.get("/backups/a.hrb")).status == 404
        for role in (Role.operator, Role.watcher):
            for answer in (await world.post("/backup", role=role), await world.get("/backups", role=role)):
                assert answer.status == 403


@run_async
async def test_what_is_half_made_is_swept_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / ".a.hrb.7.part").write_bytes(b"half")
    (folder / "b.hrb").write_bytes(b"whole")
    assert [kept.name for kept in Backups(tmp_path, "", SystemClock()).kept()] == ["b.hrb"]
    assert [path.name for path in folder.iterdir()] == ["b.hrb"]


@run_async
async def test_a_restore_is_made_by_the_next_start_and_sets_aside_what_is_there_only_when_told(tmp_path: Path) -> None:
    told: list[str] = []
    async with World(tmp_path / "data") as world:
        backups = serve(world, told)
        await world.put("/jobs/hello", HELLO)
        await world.post("/backup", {"name": "a.hrb"})
        await world.call("DELETE", "/api/v1/jobs/hello")
        assert (await world.post("/restore", {"name": "none.hrb", "force": True})).status == 404
        assert (await world.post("/restore", {"name": "a.hrb"})).status == 409
        (backups.folder / "bad.hrb").write_bytes(b"bad")
        assert (await world.post("/restore", {"name": "bad.hrb", "force": True})).status == 422
        assert told == []
        assert (await world.post("/restore", {"name": "a.hrb", "force": True})).status == 202
        assert "a.hrb" in told[0]
    done = await Backups(tmp_path / "data", "", SystemClock()).restore_if_asked()
    assert done is not None
    assert done.restored is not None
    assert Path(done.restored.set_aside).is_dir()
    async with World(tmp_path / "data") as world:
        assert (await world.get("/jobs/hello")).status == 200
        assert world.node.store.identity.incarnation == done.restored.incarnation > 1
    assert await Backups(tmp_path / "data", "", SystemClock()).restore_if_asked() is None


@run_async
async def test_a_restore_that_is_refused_at_the_start_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "bad.hrb").write_bytes(b"bad")
    (tmp_path / ASKED).write_bytes(b'{"name":"bad.hrb"}')
    backups = Backups(tmp_path, "", SystemClock())
    with pytest.raises(Invalid, match="no backup"):
        await backups.restore_if_asked()
    assert "no backup" in (tmp_path / REFUSED).read_text()
    assert await backups.restore_if_asked() is None
