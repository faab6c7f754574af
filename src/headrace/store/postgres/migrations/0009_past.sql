-- What a named thing was at an instant: one seek to its last version until then, however many followed.
create index entity_history_at on entity_history (space, kind, name, updated_at, version);
