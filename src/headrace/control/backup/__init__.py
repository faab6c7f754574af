"""Backup and restore: a process of its own that reads or fills a store, and the service that control offers of it."""
