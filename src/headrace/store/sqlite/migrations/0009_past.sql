-- What a named thing was at an instant: one seek to its last version until then, however many followed.
CREATE INDEX entity_history_at ON entity_history (space, kind, name, updated_at, version);
