"""Finding the route of a path, ready to be served. Made once from the table; knows nothing of requests.

Refuses a table with two routes at one place, or with one that names no permission. Used by ``control.api.dispatch`` and
``control.api.entry``.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.control.api.negotiate import Decoders
from headrace.control.api.table import Route
from headrace.control.auth import Permission

UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Endpoint:
    """A route, ready to be served: with the readers of its body and the names of its query parameters."""

    __slots__ = ("decoders", "has_body", "names", "queries", "route", "unsafe")

    def __init__(self, route: Route, names: tuple[str, ...]) -> None:
        self.route = route
        self.names = names
        self.decoders = None if route.request is None else Decoders(route.request)
        self.has_body = bool(route.accepts)
        self.unsafe = route.method in UNSAFE
        self.queries = frozenset(q.name for q in route.queries)


class _Node:
    """One step of a path: fixed words, one placeholder, or the rest of the path."""

    __slots__ = ("any", "methods", "rest", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, Endpoint] = {}


class Router:
    """Finds the endpoint of a path in one walk along its words; fixed words win over placeholders."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if not isinstance(route.permission, Permission):
            raise TypeError(f"the route {route.method} {route.path} names no permission")
        node = self._root
        names = []
        for word in route.path.split("/")[1:]:
            if word.endswith("...}"):
                names.append(word[1:-4])
                node.rest = node = node.rest or _Node()
            elif word.startswith("{"):
                names.append(word[1:-1])
                node.any = node = node.any or _Node()
            else:
                node = node.words.setdefault(word, _Node())
        if route.method in node.methods:
            raise ValueError(f"the route {route.method} {route.path} is in the table twice")
        node.methods[route.method] = Endpoint(route, tuple(names))

    def find(self, path: str) -> tuple[dict[str, Endpoint], list[str]] | None:
        """The methods of this path and the values of its placeholders, or None."""
        words = path.split("/")
        node = self._root
        values: list[str] = []
        for i in range(1, len(words)):
            word = words[i]
            following = node.words.get(word)
            if following is None:
                following = node.any if word else None
                if following is not None:
                    values.append(word)
                elif node.rest is not None and word:
                    values.append("/".join(words[i:]))
                    return node.rest.methods, values
                else:
                    return None
            node = following
        return (node.methods, values) if node.methods else None
