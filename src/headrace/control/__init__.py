"""The control process: API, ledger, loops. The only room that opens the database."""
