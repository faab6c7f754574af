"""The rules of a run, told once more as plainly as can be. After each event every rule is tried on every task until
nothing changes; what can be worked out is never kept.

``tasks``: name → needs [(earlier task, states, exit glob)], any, when, group, count, window, retries, retry_lost, times,
allow_failure, finally, inner ("child", "wait" or ""). A unit is (task, index): a group has ``count``, another task one.
"""

from fnmatch import fnmatchcase

BAD = {"failed", "lost"}
OVER = BAD | {"succeeded", "canceled", "skipped"}


class Interpreter:
    def __init__(self, tasks, stop):
        self.tasks, self.stop, self.canceled = tasks, stop, False
        self.paused, self.asked_to_stop, self.abandoned = False, False, False
        self.state = dict.fromkeys(tasks, "waiting")
        self.units, self.said, self.exit = {}, {}, {}  # unit → state, unit → what its attempts said, task → exit status
        self.settle()

    def settle(self):
        before = None
        while before != (self.state, self.units, self.paused):
            before = dict(self.state), dict(self.units), self.paused
            if self.canceled or (self.stop and self.failures()) or OVER.issuperset(self.state.values()):
                self.paused = False  # what brings a run to its end ends its pause
            for unit in sorted(self.units):
                if self.units[unit] == "ready" and self.held_back(unit[0]):
                    self.units[unit] = self.cut_short(unit)
                if self.units[unit] == "running" and self.tasks[unit[0]]["inner"] == "wait" and self.held_back(unit[0]):
                    self.units[unit] = "canceled"  # it is no work that could be finished
                if self.units[unit] == "ready" and self.tasks[unit[0]]["inner"] and not self.paused:
                    self.units[unit] = "running"  # it waits for no agent
            for name, task in self.tasks.items():
                if self.state[name] == "waiting":
                    self.state[name] = self.opened(name, task)
                if self.state[name] == "open":
                    self.state[name] = self.grown(name, task)

    def opened(self, name, task):
        if self.canceled and (not task["finally"] or self.abandoned):
            return "canceled"
        if task["finally"] and any(self.state[n] not in OVER for n, t in self.tasks.items() if not t["finally"]):
            return "waiting"
        answers = [self.holds(need, self.state[need[0]]) for need in task["needs"]]
        decides = task["any"]  # one yes decides for "any", one no for "all"
        if decides not in answers and None in answers:
            return "waiting"
        holds = decides if decides in answers else not decides
        return "open" if holds and task["when"] and not self.held_back(name) else "skipped"

    def holds(self, need, state):  # None: nobody knows yet
        task, states, glob = need
        exit_fits = glob is None or fnmatchcase(self.exit.get(task) or "", glob)
        return state in states and exit_fits if state in OVER else None

    def grown(self, name, task):
        """Units come into being while the window has room; the task is over with the last of them."""
        states = [state for unit, state in sorted(self.units.items()) if unit[0] == name]
        room = task["window"] - sum(state not in OVER for state in states)
        for index in range(len(states), min(task["count"], len(states) + room)):
            self.units[name, index] = self.cut_short((name, index)) if self.held_back(name) else "ready"
            states.append(self.units[name, index])
        if len(states) < task["count"] or not OVER.issuperset(states):
            return "open"
        if not task["group"]:
            return states[0]
        if BAD & set(states) or "canceled" in states:
            return "failed" if BAD & set(states) else "canceled"
        return "skipped" if set(states) == {"skipped"} else "succeeded"

    def held_back(self, name):  # the run is ending, and this may not begin any more
        failed = {} if self.canceled or not self.stop else self.failures()
        ending = self.canceled or (failed and name not in self.spared(failed))
        return self.abandoned or (ending and not self.tasks[name]["finally"])

    def failures(self):  # a group counts with its first bad instance
        bad = {n: "failed" if self.tasks[n]["group"] else state for (n, _), state in self.units.items() if state in BAD}
        return {
            n: state for n, state in bad.items() if not (self.tasks[n]["allow_failure"] or self.tasks[n]["finally"])
        }

    def spared(self, failed):  # tasks with a need that a failure fulfils, and whatever depends on those
        found = set()
        for name, task in self.tasks.items():
            if any(need[0] in found or self.holds(need, failed.get(need[0])) for need in task["needs"]):
                found.add(name)
        return found

    def cut_short(self, unit):  # no further attempt: it ends as the last one did
        said = self.said.get(unit)
        canceled = self.canceled and self.held_back(unit[0])
        last = said[-1] if said else "skipped"
        return "canceled" if canceled or last == "succeeded" else last  # it succeeded, but not so often as it should

    def finish(self, unit, kind, exit_status):
        """One attempt is over: succeeded, failed, lost, canceled, skipped; a refused one never was."""
        task, said = self.tasks[unit[0]], self.said.setdefault(unit, [])
        if kind != "refused":
            said.append(kind)
            self.exit[unit[0]] = None if task["group"] or kind == "lost" else exit_status
        again = kind == "refused" or (kind == "lost" and task["retry_lost"])
        rest = said[len(said) - said[::-1].index("succeeded") :] if "succeeded" in said else said
        again = again or (kind == "failed" and rest.count("failed") <= task["retries"])
        once_more = kind == "succeeded" and said.count("succeeded") < task["times"]
        if (again or once_more) and not self.held_back(unit[0]):
            self.units[unit] = "ready"
        else:
            self.units[unit] = self.cut_short(unit) if once_more or kind in {"lost", "refused"} else kind
        self.settle()

    def may_begin(self):  # asked before a ready unit is given out
        return [] if self.paused else sorted(unit for unit, state in self.units.items() if state == "ready")

    def cancel(self):
        self.canceled, self.asked_to_stop = True, False
        self.settle()

    def ask_to_stop(self):  # the same for what has not begun; the running goes on
        self.canceled = self.asked_to_stop = True
        self.settle()

    def abandon(self):  # nothing is waited for
        self.canceled = self.abandoned = True
        self.units = {unit: state if state in OVER else "canceled" for unit, state in self.units.items()}
        self.settle()

    def result(self):
        if self.abandoned:
            return "abandoned"
        bad = [n for n, state in self.state.items() if state in BAD and not self.tasks[n]["allow_failure"]]
        canceled = self.asked_to_stop or "canceled" in self.state.values()
        return "failed" if bad else "canceled" if canceled else "succeeded"
