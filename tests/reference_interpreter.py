"""The rules of a run, told once more as plainly as can be. After each event every rule is tried on every task until
nothing changes; what can be worked out is never kept.

``tasks``: name → needs [(earlier task, states, exit glob)], any, when, group, count, window, retries, retry_lost,
allow_failure, finally. A unit is (task, index): a group has ``count`` of them, another task has one.
"""

from fnmatch import fnmatchcase

BAD = {"failed", "lost"}
OVER = BAD | {"succeeded", "canceled", "skipped"}


class Interpreter:
    def __init__(self, tasks, stop):
        self.tasks, self.stop, self.canceled = tasks, stop, False
        self.state = dict.fromkeys(tasks, "waiting")  # of each task
        self.units, self.said, self.exit = {}, {}, {}  # unit → state, unit → what its attempts said, task → exit status
        self.settle()

    def settle(self):
        before = None
        while before != (self.state, self.units):
            before = dict(self.state), dict(self.units)
            for unit in sorted(self.units):
                if self.units[unit] == "ready" and self.held_back(unit[0]):
                    self.units[unit] = self.cut_short(unit)
            for name, task in self.tasks.items():
                self.advance(name, task)

    def advance(self, name, task):
        if self.state[name] == "waiting":
            self.state[name] = self.opened(name, task)
        if self.state[name] == "open":
            states = self.grown(name, task)
            if len(states) == task["count"] and OVER.issuperset(states):
                self.state[name] = joined(states) if task["group"] else states[0]

    def opened(self, name, task):
        if self.canceled and not task["finally"]:
            return "canceled"
        if task["finally"] and any(self.state[n] not in OVER for n, t in self.tasks.items() if not t["finally"]):
            return "waiting"
        answers = [self.holds(need, self.state[need[0]]) for need in task["needs"]]
        decides = task["any"]  # one yes decides for "any", one no for "all"
        if decides not in answers and None in answers:
            return "waiting"
        holds = decides if decides in answers else not decides
        return "open" if holds and task["when"] and not self.held_back(name) else "skipped"

    def holds(self, need, state):
        task, states, glob = need
        if state not in OVER:
            return None  # nobody knows yet
        return state in states and (glob is None or fnmatchcase(self.exit.get(task) or "", glob))

    def grown(self, name, task):
        states = [state for unit, state in sorted(self.units.items()) if unit[0] == name]
        room = task["window"] - sum(state not in OVER for state in states)
        for index in range(len(states), min(task["count"], len(states) + room)):
            self.units[name, index] = self.cut_short((name, index)) if self.held_back(name) else "ready"
            states.append(self.units[name, index])
        return states

    def held_back(self, name):
        """The run is ending, and this may not begin any more."""
        ending = self.canceled or (self.stop and self.failures() and name not in self.spared())
        return ending and not self.tasks[name]["finally"]

    def failures(self):
        """task → state of those that stop a run; a group does with its first bad instance."""
        found = {}
        for (name, _), state in self.units.items():
            task = self.tasks[name]
            if state in BAD and not task["allow_failure"] and not task["finally"]:
                found[name] = "failed" if task["group"] else state
        return found

    def spared(self):
        """Tasks with a need that a failure fulfils, and whatever depends on those."""
        failures, found = self.failures(), set()
        for name, task in self.tasks.items():
            for need in task["needs"]:
                if need[0] in found or (need[0] in failures and self.holds(need, failures[need[0]])):
                    found.add(name)
        return found

    def cut_short(self, unit):
        """What becomes of a unit that has no further attempt."""
        if self.canceled and self.held_back(unit[0]):
            return "canceled"
        said = self.said.get(unit)
        return said[-1] if said else "skipped"

    def start(self, unit):
        self.units[unit] = "running"

    def finish(self, unit, kind, exit_status):
        """One attempt is over: succeeded, failed, lost, canceled, skipped; refused ones never were."""
        task, said = self.tasks[unit[0]], self.said.setdefault(unit, [])
        if kind != "refused":
            said.append(kind)
            self.exit[unit[0]] = None if task["group"] or kind == "lost" else exit_status
        retry = kind == "failed" and said.count("failed") <= task["retries"]
        if (retry or kind == "refused" or (kind == "lost" and task["retry_lost"])) and not self.held_back(unit[0]):
            self.units[unit] = "ready"
        else:
            self.units[unit] = self.cut_short(unit) if kind in {"lost", "refused"} else kind
        self.settle()

    def cancel(self):
        self.canceled = True
        self.settle()

    def result(self):
        if any(state in BAD and not self.tasks[name]["allow_failure"] for name, state in self.state.items()):
            return "failed"
        return "canceled" if "canceled" in self.state.values() else "succeeded"


def joined(states):
    if BAD & set(states):
        return "failed"
    if "canceled" in states:
        return "canceled"
    return "skipped" if set(states) == {"skipped"} else "succeeded"
