"""The REST API: one route table, one file per noun."""
