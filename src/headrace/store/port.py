"""The one seam to a database: what the ledger (writer) and the API (reader) may ask of a store.

Implemented by ``store.sqlite`` and ``store.postgres``; both pass the suite in tests/conformance. Rules that no
implementation may break: cells are found by primary key only and compared in memory; every method is a fixed number of
set statements whatever the size of its arguments; nothing scans the blocked or the finished set; what ``commit``
returned from survives kill -9 and power loss. SQLite implements the async methods without ever suspending, except
``commit``, whose fsync runs in a helper thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.ids import TaskKey
from headrace.model.limits import LimitKey
from headrace.store.rows import (
    Answer,
    ArtifactRow,
    AttemptRow,
    Batch,
    ChildRow,
    CommitRow,
    Document,
    DueRow,
    Entity,
    EntityAt,
    EntityKey,
    Hint,
    HistoryAt,
    HistoryRow,
    HolderRow,
    LeasedRow,
    Logged,
    LogPage,
    LogSegment,
    Outgoing,
    Place,
    ReadyRow,
    RunFilter,
    RunRow,
    RunsPage,
)


class Identity(Struct, frozen=True):
    """What the store is: raised on restore, never lowered."""

    incarnation: int
    schema: int
    settings: dict[str, str]
    """Settings that safety rests on, read back from the server's own connection (synchronous, journal mode …)."""


class Ahead(Struct):
    """What a group knows that it will ask for, before it has loaded anything: all may be fetched in one go."""

    entities: Sequence[EntityKey] = ()
    documents: Sequence[bytes] = ()
    answers: Sequence[tuple[str, str]] = ()
    outbox: Sequence[int] = ()
    runs: Sequence[int] = ()
    tasks: Sequence[TaskKey] = ()
    wait: bool = False
    """As ``lock_runs`` will be asked."""


class Writer(Protocol):
    """The ledger's connection. One transaction at a time: begin → loads → write → commit, or rollback."""

    far: bool
    """Each question is a round trip: it pays to say ``ahead`` what will be asked."""

    @property
    def floor(self) -> int:
        """The latest instant at which anything was written that this transaction has loaded, µs. Nothing may be written at an
        earlier one. 0 where nobody else writes (SQLite: the ledger's own clock never goes back).
        """

    @property
    def waited(self) -> float:
        """Seconds of this transaction in which the loop was free for others, because a server was waited for."""

    async def begin(self) -> None: ...

    def ahead(self, asked: Ahead) -> None:
        """Said after ``begin``, before anything is loaded. The answers come as each is asked for, as if nothing was said."""

    async def lock_runs(self, runs: Sequence[int], *, wait: bool = False) -> tuple[dict[int, RunCell], set[int]]:
        """Lock (sorted) and load run cells. Second: ids whose rows another node holds (never on SQLite).

        With ``wait`` it waits for locks, at most 200 ms, then raises Busy.
        """

    async def load_tasks(self, keys: Sequence[TaskKey]) -> list[TaskCell]: ...

    async def load_inputs(self, runs: Sequence[int]) -> list[RunInput]: ...

    async def load_members(self, run: int, after: tuple[int, int], limit: int) -> list[TaskCell]:
        """Task rows of the run in (no, index) order after ``after`` (exclusive)."""

    async def load_values(self, keys: Sequence[TaskKey]) -> dict[TaskKey, Value]:
        """Results of these tasks with ``data`` filled in (inline, aside or blob)."""

    async def load_group(self, run: int, no: int, after: int, limit: int) -> list[TaskCell]:
        """Instances of one group in item order, for gathering their results."""

    async def lock_entities(self, keys: Sequence[EntityKey]) -> dict[EntityKey, Entity]: ...

    async def lock_limits(
        self, keys: Sequence[EntityKey], *, wait: bool = False
    ) -> tuple[dict[EntityKey, Entity], set[EntityKey]]:
        """Lock (sorted) and load the rows of limits and gates, before those of runs. As ``lock_runs``."""

    async def load_uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        """Units in use, the rate's instant (0: none) and when it was written, of all keys that are asked for. Only under the limit's lock."""

    async def load_cached(self, works: Sequence[bytes]) -> dict[bytes, tuple[int, TaskCell, Value | None]]:
        """By the name of a work: when it was done, the attempt's task, its result with data. Absent: never."""

    async def load_gates(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[list[int], list[int]]]:
        """Runs that hold a gate, oldest first, and the first thousand that wait, in order."""

    async def load_answers(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        """Answers by (scope, idempotency key)."""

    async def load_documents(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Graph numbers of documents that are already kept."""

    async def lock_outbox(self, seqs: Sequence[int]) -> set[int]:
        """Those of these rows that are there and that no other node delivers at this moment; locked until the commit."""

    async def write(self, batch: Batch, *, wait: bool = True) -> None:
        """Raises Busy when another node wrote the same key; without ``wait`` it may be ``commit`` that says so."""

    async def commit(self) -> None:
        """Durable when it returns. Raises UnknownOutcome when nobody can say; StoreError when it did not happen."""

    async def rollback(self) -> None: ...


class Reader(Protocol):
    """Read-only questions, each on a consistent snapshot; answers are bounded (≤ 500 rows unless said otherwise)."""

    async def runs(self, where: RunFilter) -> list[RunRow]:
        """The rows of ``runs_page``."""

    async def runs_page(self, where: RunFilter) -> RunsPage:
        """Runs in (created_at, id) order, along an index; looks at ``where.scan`` runs at most and says where to go on."""

    async def runs_by_id(self, runs: Sequence[int]) -> list[RunRow]:
        """These runs, as far as they are there, in no order. At most 500."""

    async def commits_at(
        self, since: int, until: int, after: tuple[int, int], *, ascending: bool, limit: int
    ) -> list[Logged]:
        """Commits of history by their instant: those behind ``after`` (at, commit). May show what others still follow."""

    async def run(self, run: int) -> RunRow | None: ...

    async def tasks(
        self,
        run: int,
        *,
        no: int | None = None,
        after: tuple[int, int] = (-1, -2),
        limit: int = 500,
        groups_only: bool = False,
        states: int = 0,
    ) -> list[TaskCell]:
        """Task rows in (no, index) order. ``groups_only``: only rows with index WHOLE. ``no``: rows of one task.

        ``states``, with ``groups_only``: only those in one of these states, as bits ``1 << state``.
        """

    async def task(self, key: TaskKey) -> TaskCell | None: ...

    async def attempts(self, key: TaskKey) -> list[AttemptRow]: ...

    async def value(self, key: TaskKey) -> Value | None:
        """The result with its data, or None."""

    async def error(self, key: TaskKey) -> Value | None: ...

    async def history(
        self, run: int, *, no: int | None = None, index: int | None = None, after: int = 0, limit: int = 500
    ) -> list[HistoryRow]: ...

    async def commits(self, numbers: Sequence[int]) -> list[CommitRow]:
        """Who asked for these commits, why and from where; in no order. At most 500."""

    async def log(self, after: Place, limit: int) -> LogPage:
        """Commits after this place, in order; at most ``limit``, and no more than 64 Ki history keys but for the first.

        Never passes the horizon: what is not shown now is shown after all of these, or never was.
        """

    async def log_end(self) -> Place:
        """The newest place that can be shown."""

    async def pruned(self) -> tuple[Place, int]:
        """The newest place of which history has been deleted, and its instant; the beginning and 0 when none has."""

    async def cells_at(self, keys: Sequence[TaskKey], at: int) -> list[HistoryRow]:
        """The last history row until this instant of each of these entities of runs, in no order. At most 500."""

    async def entity_at(self, key: EntityKey, at: int) -> Entity | None:
        """The last version until this instant of one named thing, deleted or not."""

    async def entities_at_instant(
        self, kind: str, at: int, *, after: str = "", limit: int = 500, deleted: bool = False
    ) -> list[Entity]:
        """Like ``entities``, as they were at this instant."""

    async def history_at(self, keys: Sequence[HistoryAt]) -> list[tuple[HistoryRow, int, str]]:
        """These rows, as far as they are still there, in no order, each with its run's graph number and who asked for
        it. At most 500.
        """

    async def entities_at(self, keys: Sequence[EntityAt]) -> list[tuple[Entity, str]]:
        """These versions, as far as they are still there, in no order, each with who asked for it. At most 500."""

    async def segments(self, key: TaskKey, attempt: int) -> list[LogSegment]: ...

    async def artifacts(
        self, run: int, no: int | None = None, *, after: tuple[int, int, str] | None = None
    ) -> list[ArtifactRow]:
        """Files by (no, index, path), at most 10,000; ``after``: those behind this one."""

    async def with_artifacts(self, runs: Sequence[int]) -> set[int]:
        """Those of these runs whose attempts have left files. At most 500 are looked at."""

    async def entity(self, key: EntityKey) -> Entity | None: ...

    async def entities(
        self, kind: str, *, after: str = "", limit: int = 500, deleted: bool = False
    ) -> list[Entity]: ...

    async def jobs_by(self, order: str, after: tuple[int, str] | None, *, ascending: bool, limit: int) -> list[Entity]:
        """Jobs, deleted ones too, by ``name`` or by (``updated_at``, name), behind (updated_at, name)."""

    async def entity_versions(self, key: EntityKey, *, before: int = 0, limit: int = 500) -> list[Entity]:
        """Versions newest first; with ``before`` those older than that version."""

    async def document(self, graph: int) -> Document | None: ...

    async def ready(self, klass: int, limit: int) -> list[ReadyRow]:
        """Ready tasks of one class in rank order."""

    async def ready_classes(self) -> list[tuple[int, bytes]]:
        """Classes that have ready rows now, with their Placement. Costs one seek per class, never a scan."""

    async def uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        """Units in use, the rate's instant (0: none) and when it was written, of each key."""

    async def holders(self, name: str, key: str | None = None, limit: int = 100) -> list[HolderRow]:
        """Who holds units of a limit, by key."""

    async def in_use(self, name: str) -> int:
        """Units in use of a limit, whatever their key."""

    async def gate_waiting(self, gate: LimitKey, limit: int) -> list[tuple[int, int]]:
        """(run, rank) of runs that wait at a gate, in order."""

    async def first_waiting(self, gates: Sequence[LimitKey], limit: int) -> dict[LimitKey, list[int]]:
        """The first runs that wait at each of these gates, in order, at most so many at each; gates of none are left out."""

    async def gates_waiting(self) -> list[LimitKey]:
        """Gates at which runs wait. One seek per gate, never a scan."""

    async def due(self, until: int, limit: int) -> list[DueRow]:
        """Cells whose ``due_at`` has come, soonest first; and with ``until`` in the future: the next ones."""

    async def leased(self, agent: int, after: TaskKey | None, limit: int) -> list[LeasedRow]: ...

    async def outbox(self, kind: str, until: int, limit: int) -> list[Outgoing]:
        """Rows of this kind whose ``due_at`` has come, in the order in which they were written."""

    async def answers_before(self, at: int, limit: int) -> list[tuple[str, str]]:
        """(scope, key) of answers that were given before this instant, oldest first."""

    async def children(
        self, parent: int, *, after: TaskKey | None = None, limit: int = 500, whole: bool = False
    ) -> list[ChildRow]:
        """The runs that are the work of this run's tasks, in (no, index, epoch) order; ``whole``: no instances."""

    async def child(self, parent: int, no: int, index: int, epoch: int) -> int | None:
        """The run that is the work of this attempt."""

    async def counts(self) -> dict[str, int]:
        """Live rows by state: ready, leased, due, runs not ended. From partial indexes only."""

    async def open_by_state(self) -> dict[int, int]:
        """Runs that have not ended, by state. Walks the open set: not for the hot path."""

    async def statement(self, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """A named read-only statement of the dialect's queries; for doctor and tests."""


class Blobs(Protocol):
    """Bytes by SHA-256 digest (hex). A digest that was returned is whole, verified and durable."""

    async def put(self, data: bytes | AsyncIterator[bytes]) -> tuple[str, int]:
        """Keep these bytes; gives (digest, size). Durable when it returns; the same bytes twice are kept once."""

    async def get(self, digest: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Raises NotFound; verifies the digest when the whole is read."""

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes in pieces, verified at the end."""

    async def size(self, digest: str) -> int | None: ...

    async def delete(self, digests: Iterable[str]) -> None:
        """For retention, which is not there yet: nobody in the product calls it, and every blob stays."""


class Store(Protocol):
    """A whole store: opened by ``control.app``, given to the ledger and the API."""

    @property
    def writer(self) -> Writer: ...

    @property
    def reader(self) -> Reader: ...

    @property
    def blobs(self) -> Blobs: ...

    @property
    def identity(self) -> Identity: ...

    async def reserve_ids(self, what: str, count: int) -> int:
        """A block of ``count`` numbers ('run', 'commit', 'graph', 'agent', 'node') for this node; gives the first. Never given twice."""

    def hear(self, on_hint: Callable[[Hint], None]) -> None:
        """From now on tell of what other nodes commit, and them of what is committed here. ``on_hint`` returns at once.

        SQLite has no other nodes and never calls it. Asked once, by the node.
        """

    async def close(self) -> None: ...
