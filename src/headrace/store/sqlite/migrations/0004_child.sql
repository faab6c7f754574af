-- Which run is the work of which attempt of a task, and the outbox by kind.

CREATE TABLE child (
  parent INTEGER NOT NULL,
  no     INTEGER NOT NULL,
  idx    INTEGER NOT NULL,
  epoch  INTEGER NOT NULL,
  run    INTEGER NOT NULL,
  PRIMARY KEY (parent, no, idx, epoch)
) STRICT, WITHOUT ROWID;

CREATE INDEX child_whole ON child (parent, no, epoch) WHERE idx = -1;
CREATE INDEX outbox_kind ON outbox (kind, seq);
