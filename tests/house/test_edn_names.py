"""Every entity of the API says the namespace of its keys in EDN: ``edn_namespace`` on its records."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.control.api.routes import all_routes

PLAIN = {"AgentChoice", "AnyNeed", "Need", "ChildJob", "Dst", "Misfire", "Delivery", "ReasonView", "HolderView", "Problem", "VersionView", "JobDiffView", "Credentials",
    "CheckView", "ImportedItem"}  # fmt: skip
"""Records with a name, a job or an id that are no entities: parts of one, or answers about one."""


def test_whoever_has_a_name_or_an_id_has_a_namespace():
    found: dict[str, Any] = {}
    todo: list[Any] = [
        msgspec.inspect.type_info(type_)
        for route in all_routes()
        for type_ in (route.request, route.response)
        if type_ is not None
    ]
    while todo:
        info = todo.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ not in found and info.cls.__module__.startswith(
                ("headrace.model", "headrace.control")
            ):
                found[info.cls.__name__] = info
                todo.extend(field.type for field in info.fields)
        else:
            todo.extend(getattr(info, "types", ()))
            todo.extend(getattr(info, name) for name in ("type", "item_type", "value_type") if hasattr(info, name))
    bare = {
        name for name, info in found.items()
        if {"id", "name"} & {field.name for field in info.fields} and not hasattr(info.cls, "edn_namespace")
    }  # fmt: skip
    assert bare <= PLAIN, f"say edn_namespace, or that they are no entities: {bare - PLAIN}"
    assert len(found) > 50
