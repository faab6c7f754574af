"""The ledger's port to a database, and its two dialects. Never a rule."""
