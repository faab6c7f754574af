"""The API as pages for people: one HTML document made of the OpenAPI document. No script, no foreign asset, no state.

Everything that comes from the document is escaped. Called by ``control.api.system``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem;color:#1c2430;background:#fff}
nav{columns:3;font-size:.9rem}nav a{display:block}h2{margin-top:2.5rem;border-bottom:1px solid #cbd3dc}
h3{font-size:1rem;margin-top:2rem}code,pre{font-family:ui-monospace,monospace;font-size:.9em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-top:1px solid #e3e8ee}
.method{display:inline-block;min-width:4.5rem;font-weight:600}.quiet{color:#5b6775}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dfe5ec}a{color:#8ab4f8}h2,td,th{border-color:#333c47}.quiet{color:#97a3b0}}
"""
_METHODS = ("get", "post", "put", "patch", "delete")


def docs_page(document: dict[str, Any]) -> bytes:
    """The whole page."""
    title = f"{document['info']['title']} {document['info']['version']}"
    tags: dict[str, list[str]] = {}
    links: list[str] = []
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                tags.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
                links.append(_link(operation["operationId"], f"{method.upper()} {path}"))
    schemas = document["components"]["schemas"]
    body = [
        f"<h1>{escape(title)}</h1><p>{escape(document['info']['description'])}</p>",
        '<p>The same for machines: <a href="/api/openapi.json">openapi.json</a></p>',
        f"<nav>{''.join(links)}</nav>",
        *(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in tags.items()),
        "<h2>Records</h2>",
        *(_schema(name, schemas[name]) for name in sorted(schemas)),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{"".join(body)}</body></html>'.encode()


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{escape(anchor)}">{escape(text)}</a>'


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    roles = ", ".join(operation["x-roles"]) or "everybody"
    parts = [
        f'<h3 id="{escape(operation["operationId"])}"><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h3>',
        f'<p>{escape(operation["summary"])} <span class="quiet">({escape(roles)})</span></p>',
    ]
    rows = [
        (f"<code>{escape(p['name'])}</code>", escape(p["in"]), _type(p["schema"]), escape(p.get("description", "")))
        for p in operation["parameters"]
    ]
    if rows:
        parts.append(_table(("parameter", "in", "type", "means"), rows))
    if "requestBody" in operation:
        parts.append(f"<p>Body: {_content(operation['requestBody']['content'])}</p>")
    answers = [
        (f"<code>{status}</code>", escape(answer["description"]), _content(answer.get("content", {})))
        for status, answer in operation["responses"].items()
        if int(status) < 400
    ]
    errors = " ".join(status for status in operation["responses"] if int(status) >= 400)
    parts.append(_table(("answer", "", ""), answers))
    parts.append(f'<p class="quiet">Problems: {errors}</p>')
    return "".join(parts)


def _content(content: dict[str, Any]) -> str:
    kinds = ", ".join(f"<code>{escape(media)}</code>" for media in content)
    schema = next((media["schema"] for media in content.values() if media.get("schema")), None)
    return f"{_type(schema)} as {kinds}" if schema else kinds


def _schema(name: str, schema: dict[str, Any]) -> str:
    parts = [f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>']
    required = set(schema.get("required", ()))
    rows = [
        (
            f"<code>{escape(field)}</code>{' *' if field in required else ''}",
            _type(told),
            escape(told.get("description", "")),
        )
        for field, told in schema.get("properties", {}).items()
    ]
    if rows:
        parts.append(_table(("field", "type", "means"), rows))
    elif "enum" in schema:
        parts.append(f"<p>{_type(schema)}</p>")
    return "".join(parts)


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _link(name, name)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(option) for option in schema[key])
    if "enum" in schema:
        return " ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    inner = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(inner, dict) and inner:
        return f"object of {_type(inner)}"
    words = escape(str(schema.get("format") or schema.get("type") or "anything"))
    return words + (f" <code>{escape(schema['pattern'])}</code>" if "pattern" in schema else "")


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
