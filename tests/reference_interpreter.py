"""The rules of a run, told once more as simply as possible: sets and loops, no counters, nothing of headrace imported.

It reads the definition document itself. Whoever plays the agents asks ``ready``, then calls ``start`` and ``finish``.
"""

WORDS = {"failed": {"failed", "lost"}, "ended": {"succeeded", "failed", "lost", "canceled", "skipped"}}
FINAL = WORDS["ended"]


class Interpreter:
    def __init__(self, doc, items):
        self.tasks = {task["name"]: task for task in doc["tasks"]}
        self.stops, self.items, self.intent, self.spared = doc.get("on_failure") == "stop", items, None, set()
        self.state, self.exit, self.units, self.tries = dict.fromkeys(self.tasks, "blocked"), {}, {}, {}
        self.settle()

    def needs(self, name):
        """(alternatives?, [(task, states, exit)])"""
        given = self.tasks[name].get("needs", [])
        found = [
            {"task": need} if isinstance(need, str) else need
            for need in (given if isinstance(given, list) else given["any"])
        ]
        for need in found:
            words = need.get("state", ["succeeded", "failed-only"] if "exit" in need else "succeeded")
            words = [words] if isinstance(words, str) else words
            states = set().union(*({"failed"} if w == "failed-only" else WORDS.get(w, {w}) for w in words))
            yield need["task"], states, need.get("exit")

    def holds(self, need):
        """None while it is open."""
        task, states, glob = need
        if self.state[task] not in FINAL:
            return None
        return self.state[task] in states and (glob is None or self.exit.get(task) == glob)

    def verdict(self, name):
        """True: may begin; False: never; None: not yet."""
        answers = [self.holds(need) for need in self.needs(name)]
        if "any" in self.tasks[name].get("needs", []):
            found = True if True in answers else None if None in answers else False
        else:
            found = False if False in answers else None if None in answers else True
        last = self.tasks[name].get("finally", False)
        return None if last and found and not self.ordinary_over() else found

    def ordinary_over(self):
        return all(self.state[n] in FINAL for n, task in self.tasks.items() if not task.get("finally"))

    def settle(self):
        """Whatever follows by itself, until nothing more does."""
        before = None
        while before != (before := (dict(self.state), len(self.units))):
            for name in self.tasks:
                gate_closed = self.tasks[name].get("finally") and not self.ordinary_over()
                if self.state[name] == "blocked" and not gate_closed and (verdict := self.verdict(name)) is not None:
                    self.begin(name) if verdict else self.end(name, "skipped")
                elif self.state[name] == "open":
                    self.grow(name)

    def begin(self, name):
        task = self.tasks[name]
        if self.barred(name) or not task.get("when", {"eq": True})["eq"]:
            return self.end(name, "skipped")
        self.state[name] = "open"
        if "each" not in task:
            self.units[name, None] = "ready"
        return self.grow(name)

    def barred(self, name):
        return self.intent and not self.tasks[name].get("finally") and name not in self.spared

    def grow(self, name):
        """Instances come as there is room for them; a group ends with its last one."""
        if "each" in self.tasks[name]:
            total, window = self.items(name), self.tasks[name].get("concurrency", 2000)
            made = [unit for unit in self.units if unit[0] == name]
            room = window - sum(self.units[unit] not in FINAL for unit in made)
            for index in range(len(made), min(total, len(made) + room)):
                stopped = "canceled" if self.intent in {"cancel", "timeout"} else "skipped"
                self.units[name, index] = stopped if self.barred(name) else "ready"
        states = [state for unit, state in self.units.items() if unit[0] == name]
        complete = "each" not in self.tasks[name] or len(states) == self.items(name)
        if complete and all(state in FINAL for state in states):
            self.end(name, self.joined(states) if "each" in self.tasks[name] else states[0])

    def joined(self, states):
        if {"failed", "lost"} & set(states):
            return "failed"
        if "canceled" in states:
            return "canceled"
        return "skipped" if states and set(states) == {"skipped"} else "succeeded"

    def end(self, name, state):
        self.state[name] = state
        self.failure(name, state)

    def failure(self, name, state):
        task = self.tasks[name]
        if state in {"failed", "lost"} and self.stops and not task.get("allow_failure") and not task.get("finally"):
            if self.intent in {None, "failure"}:
                self.intent = "failure"
                self.spare(name, state)
                self.halt()

    def spare(self, name, state):
        exit_status = None if "each" in self.tasks[name] else self.exit.get(name)
        met = [
            other
            for other in self.tasks
            for task, states, glob in self.needs(other)
            if task == name and state in states and (glob is None or exit_status == glob)
        ]
        while met:
            other = met.pop()
            if other not in self.spared and not self.tasks[other].get("finally"):
                self.spared.add(other)
                met += [n for n in self.tasks for task, _, _ in self.needs(n) if task == other]

    def halt(self):
        """What may not begin again ends as what it was, and counts as a failure where that was one."""
        order = list(self.tasks)
        for unit in sorted(self.units, key=lambda unit: (order.index(unit[0]), unit[1] or 0)):
            if self.units[unit] == "ready" and self.barred(unit[0]):
                tries = self.tries.get(unit, [])
                self.units[unit] = state = "skipped" if not tries else "lost" if tries[-1] == "lost" else "failed"
                if state != "skipped" and not self.tasks[unit[0]].get("allow_failure"):
                    self.spare(unit[0], "failed" if unit[1] is not None else state)

    def ready(self):
        return sorted((unit for unit, state in self.units.items() if state == "ready"), key=str)

    def start(self, unit):
        self.units[unit] = "running"

    def finish(self, unit, kind, exit_status=None):
        """One attempt is over. ``kind``: succeeded failed lost refused canceled skipped."""
        task, tries = self.tasks[unit[0]], self.tries.setdefault(unit, [])
        over = self.barred(unit[0])
        killed = self.intent in {"cancel", "timeout"} and over
        if kind == "refused":
            state = (
                "ready"
                if not over
                else "canceled"
                if killed
                else "skipped"
                if not tries
                else ("lost" if tries[-1] == "lost" else "failed")
            )
        else:
            tries.append(kind)
            state = kind
            if kind == "failed" and tries.count("failed") <= task.get("retries", 0) and not over:
                state = "ready"
            elif kind == "lost" and killed:
                state = "canceled"
            elif kind == "lost" and task.get("on_lost", "retry") == "retry" and not over:
                state = "ready"
            self.exit[unit[0]] = exit_status if unit[1] is None and kind != "lost" else None
        self.units[unit] = state
        if state in {"failed", "lost"}:
            self.failure(unit[0], "failed" if unit[1] is not None else state)
        self.settle()

    def cancel(self, intent="cancel"):
        self.intent = intent
        for unit, state in self.units.items():
            if state == "ready" and not self.tasks[unit[0]].get("finally"):
                self.units[unit] = "canceled"
        for name, state in self.state.items():
            if state == "blocked" and not self.tasks[name].get("finally"):
                self.state[name] = "canceled"
        self.spared = set()
        self.settle()

    def verdict_of_run(self):
        bad = [n for n, s in self.state.items() if s in {"failed", "lost"} and not self.tasks[n].get("allow_failure")]
        if bad or self.intent == "timeout":
            return "failed"
        return "canceled" if "canceled" in self.state.values() else "succeeded"
