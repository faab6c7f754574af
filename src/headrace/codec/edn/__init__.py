"""EDN, whole: values that JSON has no word for, our records with namespaced keys, every error with line and column.

``loads`` and ``dumps`` know EDN alone; ``read_record`` and ``write`` know our records. Nothing here makes objects of a
document's choosing: tags are on a list, symbols stay symbols. Never recursive on data that comes from outside. Called
by ``codec.wire`` and by whoever needs the values themselves.
"""

from __future__ import annotations

from headrace.codec.edn.places import places
from headrace.codec.edn.read import MAX_BYTES, loads, plain_loads
from headrace.codec.edn.records import plain, read_plain, read_record
from headrace.codec.edn.values import Char, Keyword, List, Map, Ratio, Set, Symbol
from headrace.codec.edn.write import dumps, indented, write

__all__ = [
    "MAX_BYTES",
    "Char",
    "Keyword",
    "List",
    "Map",
    "Ratio",
    "Set",
    "Symbol",
    "dumps",
    "indented",
    "loads",
    "places",
    "plain",
    "plain_loads",
    "read_plain",
    "read_record",
    "write",
]
