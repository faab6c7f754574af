"""Files that attempts left, on both stores: however many there are, a reader that goes on gets each one once."""

from __future__ import annotations

from both_stores import Fresh

from headrace.control.lineage import artifacts_of
from headrace.store.port import Store
from headrace.store.rows import ArtifactRow, Batch

MANY = 10_003


def test_a_task_with_more_files_than_a_page_hands_on_all_of_them_and_no_other_task_s(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        files = [ArtifactRow(1, 1, index, "part", "cd" * 32, 3) for index in range(MANY)]
        others = [ArtifactRow(1, no, 0, "part", "ab" * 32, 3) for no in (0, 2)]
        await store.writer.begin()
        await store.writer.write(Batch(1, artifacts=[*files, *others]))
        await store.writer.commit()
        assert await artifacts_of(store.reader, 1, 1) == files
        assert await artifacts_of(store.reader, 1, 2) == others[1:]
        assert await artifacts_of(store.reader, 1, 3) == []
        first = await store.reader.artifacts(1, 1)
        assert first == files[: len(first)]

    fresh.run(body)
