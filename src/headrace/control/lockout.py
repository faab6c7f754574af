"""Failed logins cost time: per user and address, per address, per user. Kept in memory, bounded; never says who exists.

Each try is counted before the password is looked at, so that many at once gain nothing; a good one takes the count away.
Unknown users count as known ones do. Called by ``control.api.sessions``.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from msgspec import Struct

from headrace.model.errors import Busy

KEPT_MAX = 20_000
FORGET_US = 3600 * 1_000_000
_S = 1_000_000


class Rule(Struct, frozen=True):
    """``free`` tries cost nothing; each further one must wait twice as long as the one before, at most ``most`` seconds."""

    free: int
    most: int


PAIR = Rule(5, 900)
"""One user from one address."""
ADDRESS = Rule(20, 900)
"""One address, whatever names it tries."""
USER = Rule(50, 60)
"""One user from everywhere: the delay is short, else anybody could lock anybody out."""

_Key = tuple[str, str]


class Lockout:
    """Counts tries. ``now`` is in µs."""

    def __init__(self) -> None:
        self._tries: OrderedDict[_Key, tuple[int, int]] = OrderedDict()

    def begin(self, user: str, address: str, now: int) -> None:
        """A try begins. Raises Busy (429) when it comes too early; that one is not counted."""
        keys = _keys(user, address)
        wait = max(self._wait(key, rule, now) for key, rule in keys)
        if wait > 0:
            seconds = -(-wait // _S)
            raise Busy(f"too many failed logins: try again in {seconds} s", retry_after=seconds, status=429)
        for key, _ in keys:
            count, last = self._tries.get(key, (0, now))
            self._tries[key] = (count + 1 if now - last < FORGET_US else 1), now
            self._tries.move_to_end(key)
        while len(self._tries) > KEPT_MAX:
            self._tries.popitem(last=False)

    def good(self, user: str, address: str) -> None:
        """The try was good: the user's failures from here are forgotten, and this one at the address and the user."""
        pair, *others = [key for key, _ in _keys(user, address)]
        self._tries.pop(pair, None)
        for key in others:
            count, last = self._tries.get(key, (0, 0))
            if count <= 1:
                self._tries.pop(key, None)
            else:
                self._tries[key] = count - 1, last

    def _wait(self, key: _Key, rule: Rule, now: int) -> int:
        """µs until the next try may begin."""
        count, last = self._tries.get(key, (0, 0))
        if count < rule.free or now - last >= FORGET_US:
            return 0
        seconds = min(rule.most, 1 << min(count - rule.free, 20))
        return last + seconds * _S - now


def _keys(user: str, address: str) -> tuple[tuple[_Key, Rule], ...]:
    where = _place(address)
    return ((user, where), PAIR), (("", where), ADDRESS), ((user, ""), USER)


def _place(address: str) -> str:
    """The address, of IPv6 its /64: whoever has one address there has them all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address or "here"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)
