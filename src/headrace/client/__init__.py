"""The client SDK: one sans-IO flow, sync and async."""
