"""The record types of what came as plain data: EDN's keys are printed by them. Called by the commands that list things."""

from __future__ import annotations

from typing import Any

from headrace.client.flow import Page

__all__ = ["Page", "definition", "job_page", "job_view"]


def job_view() -> Any:
    """A saved job; the schema of definitions is read only where it is needed."""
    from headrace.model.job_view import JobView

    return JobView


def job_page() -> Any:
    """A page of saved jobs."""
    return Page[job_view()]  # type: ignore[misc]  # a type that is found when it is needed


def definition() -> Any:
    """A job definition."""
    from headrace.model.definition import JobDefinition

    return JobDefinition
