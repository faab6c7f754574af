"""The ways to run an attempt: one file each, behind ``port.Executor``."""
