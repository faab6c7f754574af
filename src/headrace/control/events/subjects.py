"""Which events a reader wants: subjects and their beginnings, and the kinds of things that the reader may see. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from headrace.control.auth import Permission
from headrace.control.events.views import noun_of, permission_of
from headrace.model.errors import Invalid

SUBJECTS_MAX = 50
_LENGTH_MAX = 500


class Wanted:
    """``runs/12`` takes that run and its tasks, ``runs`` every run, ``jobs/night*`` what begins so; none given: all."""

    def __init__(self, subjects: Iterable[str], may: Callable[[Permission], bool]) -> None:
        self._may = may
        self._known: dict[str, bool] = {}
        self._subjects = _checked(subjects)
        self.key = "\n".join([*sorted(self._subjects), "", *sorted(p.value for p in Permission if may(p))])
        """The same for two that want and may see the same."""
        self._runs = may(Permission.runs_read) and self._all_runs()
        self._some_runs = _numbers(self._subjects) if may(Permission.runs_read) else frozenset()

    def _all_runs(self) -> bool:
        return not self._subjects or any(
            s == "runs" or (s.endswith("*") and ("runs/".startswith(s[:-1]) or s.startswith("runs/")))
            for s in self._subjects
        )

    def run(self, run: int) -> bool:
        """Whether events of this run may be wanted."""
        return self._runs or run in self._some_runs

    def thing(self, kind: str, name: str) -> bool:
        """Whether events of this named thing are wanted."""
        may = self._known.get(kind)
        if may is None:
            may = self._known[kind] = self._may(permission_of(kind))
        return may and self.subject(f"{noun_of(kind)}/{name}")

    def takes(self, run: int, thing: tuple[str, str], subject: str) -> bool:
        """Whether an event about this run, or else this thing, is wanted."""
        return self.run(run) and self.subject(subject) if run else self.thing(*thing)

    def subject(self, subject: str) -> bool:
        """Whether this very subject is wanted."""
        return not self._subjects or any(_fits(subject, wanted) for wanted in self._subjects)


def _checked(subjects: Iterable[str]) -> Sequence[str]:
    found = [part for text in subjects for part in text.split(",") if part]
    if len(found) > SUBJECTS_MAX:
        raise Invalid(f"at most {SUBJECTS_MAX} subjects may be asked for at once", malformed=True)
    for subject in found:
        if len(subject) > _LENGTH_MAX or "*" in subject[:-1] or subject.startswith("/"):
            raise Invalid(
                f"{subject[:60]!r} is no subject: write runs/12, jobs/nightly, or the beginning of one: jobs/night*",
                malformed=True,
            )
    return found


def _numbers(subjects: Sequence[str]) -> frozenset[int]:
    found = set()
    for subject in subjects:
        words = subject.split("/")
        if len(words) > 1 and words[0] == "runs" and words[1].isascii() and words[1].isdigit():
            found.add(int(words[1]))
    return frozenset(found)


def _fits(subject: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return subject.startswith(wanted[:-1])
    return subject == wanted or subject.startswith(wanted + "/")
