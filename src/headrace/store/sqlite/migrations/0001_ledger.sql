-- The ledger's tables. Small live rows; images are MessagePack of the model's records; every key begins with a space
-- where it is a name. Partial indexes hold live work only, so nothing ever scans the blocked or the finished set.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE id_block (
  what TEXT PRIMARY KEY,
  next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE document (
  graph  INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  body   BLOB NOT NULL
) STRICT;

CREATE TABLE class (
  klass INTEGER PRIMARY KEY,
  body  BLOB NOT NULL
) STRICT;

CREATE TABLE run (
  id         INTEGER PRIMARY KEY,
  state      INTEGER NOT NULL,
  due_at     INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  job        TEXT,
  labels     TEXT,
  input      BLOB NOT NULL,
  params     BLOB,
  image      BLOB NOT NULL
) STRICT;

CREATE INDEX run_created ON run (created_at);
CREATE INDEX run_job ON run (job, created_at) WHERE job IS NOT NULL;
CREATE INDEX run_open ON run (state, created_at) WHERE state < 4;
CREATE INDEX run_other ON run (state, created_at) WHERE state > 4;
CREATE INDEX run_due ON run (due_at) WHERE due_at > 0;

CREATE TABLE run_params (
  run  INTEGER PRIMARY KEY,
  data BLOB NOT NULL
) STRICT;

CREATE TABLE task (
  run    INTEGER NOT NULL,
  no     INTEGER NOT NULL,
  idx    INTEGER NOT NULL,
  state  INTEGER NOT NULL,
  klass  INTEGER,
  rank   INTEGER,
  due_at INTEGER NOT NULL,
  agent  INTEGER NOT NULL,
  image  BLOB NOT NULL,
  PRIMARY KEY (run, no, idx)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_ready ON task (klass, rank) WHERE state = 1;
CREATE INDEX task_due ON task (due_at) WHERE due_at > 0;
CREATE INDEX task_leased ON task (agent) WHERE state IN (2, 3);

CREATE TABLE history_run (
  run     INTEGER NOT NULL,
  no      INTEGER NOT NULL,
  idx     INTEGER NOT NULL,
  version INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  commit_no INTEGER NOT NULL,
  body    BLOB NOT NULL,
  PRIMARY KEY (run, no, idx, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE commit_row (
  commit_no INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  node   INTEGER NOT NULL,
  actor  TEXT NOT NULL,
  source TEXT NOT NULL,
  why    TEXT
) STRICT;

CREATE TABLE attempt (
  run     INTEGER NOT NULL,
  no      INTEGER NOT NULL,
  idx     INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  image   BLOB NOT NULL,
  PRIMARY KEY (run, no, idx, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE value (
  run  INTEGER NOT NULL,
  no   INTEGER NOT NULL,
  idx  INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (run, no, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE segment (
  run     INTEGER NOT NULL,
  no      INTEGER NOT NULL,
  idx     INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL,
  digest  TEXT NOT NULL,
  data    BLOB,
  PRIMARY KEY (run, no, idx, attempt, first)
) STRICT;

CREATE TABLE artifact (
  run    INTEGER NOT NULL,
  no     INTEGER NOT NULL,
  idx    INTEGER NOT NULL,
  path   TEXT NOT NULL,
  digest TEXT NOT NULL,
  size   INTEGER NOT NULL,
  PRIMARY KEY (run, no, idx, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE entity (
  space      INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  name       TEXT NOT NULL,
  version    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER NOT NULL,
  facts      BLOB NOT NULL,
  image      BLOB NOT NULL,
  PRIMARY KEY (space, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE entity_history (
  space      INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  name       TEXT NOT NULL,
  version    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER NOT NULL,
  facts      BLOB NOT NULL,
  image      BLOB NOT NULL,
  PRIMARY KEY (space, kind, name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE answer (
  scope    TEXT NOT NULL,
  key      TEXT NOT NULL,
  request  BLOB NOT NULL,
  status   INTEGER NOT NULL,
  location TEXT NOT NULL,
  body     BLOB NOT NULL,
  at       INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX answer_at ON answer (at);

CREATE TABLE outbox (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT NOT NULL,
  subject TEXT NOT NULL,
  body    BLOB NOT NULL,
  due_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_due ON outbox (due_at);

INSERT INTO meta (key, value) VALUES ('incarnation', '1');
