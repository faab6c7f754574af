"""Saving, deleting and bringing back a job, keeping a document. Definitions were checked before; here only versions are decided.

Pure. A version is dense and immutable; the same content is never saved twice in a row. Called by the ledger.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided, Rows
from headrace.core.nodes import Graph
from headrace.model.definition import JobDefinition
from headrace.model.errors import Conflict, Deleted, NotFound, Outdated
from headrace.model.limits import GATE
from headrace.store.rows import Document, Entity, EntityKey

JOB = "job"

_encode_document = msgspec.json.Encoder(order="deterministic").encode
_encode = msgspec.msgpack.Encoder().encode


class JobRecord(Struct, frozen=True, array_like=True):
    """The image of a saved job: which document its version is.

    ``missing`` are references of tasks that no package had when it was saved: it takes no runs until they are there.
    """

    graph: int
    digest: bytes
    description: str = ""
    labels: dict[str, str] = {}
    missing: tuple[str, ...] = ()


class JobSaved(Struct, frozen=True):
    """What ``PutJob`` gives: ``outcome`` is new | unchanged | changed."""

    outcome: str
    version: int
    graph: int
    created_at: int
    updated_at: int


read_job = msgspec.msgpack.Decoder(JobRecord).decode


def document_of(definition: JobDefinition) -> tuple[bytes, bytes]:
    """(digest, body): the same definition gives the same bytes, whatever it was written in."""
    body = _encode_document(definition)
    return hashlib.sha256(body).digest(), body


def classes_of(graph: Graph) -> tuple[tuple[int, bytes], ...]:
    """The placement classes of a graph's tasks, as they are kept."""
    return tuple({node.klass: _encode(node.placement) for node in graph.nodes}.items())


class KeepDocument(Struct, frozen=True):
    """Keep a definition that is not saved. ``graph`` is a reserved number, used when the document is new.

    Gives the document's graph number.
    """

    graph: int
    digest: bytes
    body: bytes
    classes: tuple[tuple[int, bytes], ...] = ()
    gate: str = ""
    """The job that may have only so many runs at once: its row is there before its first run, to be locked."""

    def names(self) -> tuple[EntityKey, ...]:
        return ((GATE, self.gate),) if self.gate else ()

    def digests(self) -> tuple[bytes, ...]:
        return (self.digest,)

    def decide(self, rows: Rows, now: int) -> Decided:
        """The number it has, or this one."""
        known = rows.documents.get(self.digest)
        if known is not None:
            return Decided(known, classes=self.classes, entities=self._gate(rows, now))
        document = Document(self.graph, self.digest, self.body)
        return Decided(self.graph, documents=(document,), classes=self.classes, entities=self._gate(rows, now))

    def _gate(self, rows: Rows, now: int) -> tuple[Entity, ...]:
        if not self.gate or (GATE, self.gate) in rows.entities:
            return ()
        return (Entity(GATE, self.gate, 1, now, now, b""),)


class PutJob(Struct, frozen=True):
    """Save a job. ``create``: a job of that name with other content is a conflict (POST), else a new version (PUT).

    ``expected``: the version that the caller has seen; another one is Outdated.
    """

    definition: JobDefinition
    document: KeepDocument
    create: bool = False
    missing: tuple[str, ...] = ()
    expected: int | None = None

    def names(self) -> tuple[EntityKey, ...]:
        return ((JOB, self.definition.name), *self.document.names())

    def digests(self) -> tuple[bytes, ...]:
        return (self.document.digest,)

    def decide(self, rows: Rows, now: int) -> Decided:
        """New, unchanged, or the next version."""
        name = self.definition.name
        old = rows.entities.get((JOB, name))
        there = old is not None and not old.deleted_at
        as_expected(name, old, self.expected)
        if old is not None and there:
            record = read_job(old.image)
            if record.digest == self.document.digest and record.missing == self.missing:
                same = JobSaved("unchanged", old.version, record.graph, old.created_at, old.updated_at)
                return Decided(same)
            if self.create:
                raise Conflict(f"job {name} is there (version {old.version}) with other content: use PUT to change it")
        kept = self.document.decide(rows, now)
        version = old.version + 1 if old is not None else 1
        created = old.created_at if old is not None and there else now
        definition = self.definition
        record = JobRecord(
            kept.value, self.document.digest, definition.description, dict(definition.labels), self.missing
        )
        entity = Entity(JOB, name, version, created, now, _encode(record), facts=b"saved")
        saved = JobSaved("changed" if there else "new", version, kept.value, created, now)
        return structs.replace(kept, value=saved, entities=(entity, *kept.entities))


class DeleteJob(Struct, frozen=True):
    """Delete a job softly: its versions stay, it takes no more runs. Gives the version that records it."""

    name: str
    expected: int | None = None

    def names(self) -> tuple[EntityKey, ...]:
        return ((JOB, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound; deleted already: Deleted."""
        old = rows.entities.get((JOB, self.name))
        if old is None:
            raise NotFound(f"there is no job {self.name}")
        if old.deleted_at:
            raise deleted_job(self.name)
        as_expected(self.name, old, self.expected)
        gone = structs.replace(old, version=old.version + 1, updated_at=now, deleted_at=now, facts=b"deleted")
        return Decided(gone.version, entities=(gone,))


class RestoreJob(Struct, frozen=True):
    """Bring a deleted job back, or make an older version the newest again (``record``: that version's image).

    What is there already, with this very content, stays as it is. Gives JobSaved.
    """

    name: str
    record: JobRecord | None = None
    expected: int | None = None

    def names(self) -> tuple[EntityKey, ...]:
        return ((JOB, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Never there: NotFound."""
        old = rows.entities.get((JOB, self.name))
        if old is None:
            raise NotFound(f"there is no job {self.name}")
        as_expected(self.name, old, self.expected)
        was = read_job(old.image)
        record = self.record or was
        if not old.deleted_at and record == was:
            return Decided(JobSaved("unchanged", old.version, was.graph, old.created_at, old.updated_at))
        back = Entity(JOB, self.name, old.version + 1, old.created_at, now, _encode(record), facts=b"restored")
        return Decided(JobSaved("changed", back.version, record.graph, back.created_at, now), entities=(back,))


def as_expected(name: str, old: Entity | None, expected: int | None) -> None:
    """Raise Outdated unless the newest version is the expected one (None: any)."""
    if expected is not None and expected != (0 if old is None else old.version):
        now = "there is none" if old is None else f"the newest is {old.version}"
        raise Outdated(f"version {expected} of job {name} was expected, {now}: read it again")


def deleted_job(name: str) -> Deleted:
    """What to say of a job that was deleted."""
    return Deleted(
        f"the job {name} was deleted; POST /jobs/{name}/restore (headrace job restore {name}) brings it back"
    )
