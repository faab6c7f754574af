-- What live attempts hold of named limits, and runs of their job's gate: rows exist exactly as long as it is held.
CREATE TABLE limit_use (
  name  TEXT NOT NULL,
  key   TEXT NOT NULL,
  run   INTEGER NOT NULL,
  no    INTEGER NOT NULL,
  idx   INTEGER NOT NULL,
  units INTEGER NOT NULL,
  PRIMARY KEY (name, key, run, no, idx)
) STRICT, WITHOUT ROWID;

-- The one instant of each rate, and when it was written.
CREATE TABLE limit_tick (
  name TEXT NOT NULL,
  key  TEXT NOT NULL,
  tick INTEGER NOT NULL,
  at   INTEGER NOT NULL,
  PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;

-- Runs that wait for their turn at their job's gate.
CREATE TABLE gate_wait (
  name TEXT NOT NULL,
  key  TEXT NOT NULL,
  rank INTEGER NOT NULL,
  run  INTEGER NOT NULL,
  PRIMARY KEY (name, key, rank, run)
) STRICT, WITHOUT ROWID;

-- Which attempt's result is good for the same work with the same inputs.
CREATE TABLE cached (
  work BLOB PRIMARY KEY,
  run  INTEGER NOT NULL,
  no   INTEGER NOT NULL,
  idx  INTEGER NOT NULL,
  at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
