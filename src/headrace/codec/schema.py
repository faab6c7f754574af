"""Publishes our records as JSON Schema: for editors, for ``/api/schemas`` and for OpenAPI.

Made from the same records that decode, so that the two cannot differ. Called by ``control.api`` and the CLI.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.model.config import Config
from headrace.model.definition import KINDS, JobDefinition
from headrace.model.schedule import Calendar, Schedule, Subscription

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def job_schema() -> dict[str, Any]:
    """The JSON Schema of a job definition, complete in itself."""
    schema = {"$schema": DRAFT, "title": "Headrace job definition", **schema_of(JobDefinition)}
    task = schema["$defs"]["Task"]
    task["oneOf"] = [{"required": [kind]} for kind in KINDS]
    return schema


def schemas() -> dict[str, dict[str, Any]]:
    """Every document of ours by its noun: job, schedule, calendar, subscription, config."""
    others: dict[str, Any] = {"schedule": Schedule, "calendar": Calendar, "subscription": Subscription}
    made = {noun: {"$schema": DRAFT, "title": f"Headrace {noun}", **schema_of(type_)} for noun, type_ in others.items()}
    config = {"$schema": DRAFT, "title": "Headrace configuration", **schema_of(Config)}
    return {"job": job_schema(), **made, "config": config}


def schema_of(type_: Any) -> dict[str, Any]:
    """The JSON Schema of one type, its parts under ``$defs``."""
    return msgspec.json.schema(type_)


def components_of(types: list[Any], ref_template: str = "#/components/schemas/{name}") -> tuple[Any, dict[str, Any]]:
    """For OpenAPI: one schema per type, and the components that they refer to."""
    return msgspec.json.schema_components(types, ref_template=ref_template)
