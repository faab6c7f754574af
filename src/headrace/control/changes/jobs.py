"""Saving a job, keeping a document. Definitions were checked before; here only versions are decided.

Pure. A version is dense and immutable; the same content is never saved twice in a row. Called by the ledger.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided, Rows
from headrace.core.nodes import Graph
from headrace.model.definition import JobDefinition
from headrace.model.errors import Conflict, NotFound
from headrace.store.rows import Document, Entity, EntityKey

JOB = "job"

_encode_document = msgspec.json.Encoder(order="deterministic").encode
_encode = msgspec.msgpack.Encoder().encode


class JobRecord(Struct, frozen=True, array_like=True):
    """The image of a saved job: which document its version is."""

    graph: int
    digest: bytes
    description: str = ""
    labels: dict[str, str] = {}


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

    def names(self) -> tuple[EntityKey, ...]:
        return ()

    def digests(self) -> tuple[bytes, ...]:
        return (self.digest,)

    def decide(self, rows: Rows, now: int) -> Decided:
        """The number it has, or this one."""
        known = rows.documents.get(self.digest)
        if known is not None:
            return Decided(known, classes=self.classes)
        return Decided(self.graph, documents=(Document(self.graph, self.digest, self.body),), classes=self.classes)


class PutJob(Struct, frozen=True):
    """Save a job. ``create``: a job of that name with other content is a conflict (POST), else a new version (PUT)."""

    definition: JobDefinition
    document: KeepDocument
    create: bool = False

    def names(self) -> tuple[EntityKey, ...]:
        return ((JOB, self.definition.name),)

    def digests(self) -> tuple[bytes, ...]:
        return (self.document.digest,)

    def decide(self, rows: Rows, now: int) -> Decided:
        """New, unchanged, or the next version."""
        name = self.definition.name
        old = rows.entities.get((JOB, name))
        there = old is not None and not old.deleted_at
        if old is not None and there:
            record = read_job(old.image)
            if record.digest == self.document.digest:
                same = JobSaved("unchanged", old.version, record.graph, old.created_at, old.updated_at)
                return Decided(same)
            if self.create:
                raise Conflict(f"job {name} is there (version {old.version}) with other content: use PUT to change it")
        kept = self.document.decide(rows, now)
        version = old.version + 1 if old is not None else 1
        created = old.created_at if old is not None and there else now
        record = JobRecord(kept.value, self.document.digest, self.definition.description, dict(self.definition.labels))
        entity = Entity(JOB, name, version, created, now, _encode(record), facts=b"saved")
        saved = JobSaved("changed" if there else "new", version, kept.value, created, now)
        return structs.replace(kept, value=saved, entities=(entity,))


class DeleteJob(Struct, frozen=True):
    """Delete a job softly: its versions stay, it takes no more runs. Gives the version that records it."""

    name: str

    def names(self) -> tuple[EntityKey, ...]:
        return ((JOB, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound."""
        old = rows.entities.get((JOB, self.name))
        if old is None or old.deleted_at:
            raise NotFound(f"no job {self.name}")
        gone = structs.replace(old, version=old.version + 1, updated_at=now, deleted_at=now, facts=b"deleted")
        return Decided(gone.version, entities=(gone,))
