"""``python -m headrace.testing.sim``: many seeds on all cores, or one seed again.

Prints the means of what the worlds went through, and for each failing seed the command that repeats it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean

from headrace.testing.sim.plan import Outcome
from headrace.testing.sim.seeds import simulate


def main() -> int:
    """Exit code 1 when an invariant was broken."""
    words = argparse.ArgumentParser(prog="headrace.testing.sim")
    words.add_argument("--seeds", type=int, default=200)
    words.add_argument("--first", type=int, default=1)
    words.add_argument("--seed", type=int)
    words.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    words.add_argument(
        "--until-broken", nargs="?", const="I", metavar="I1", help="stop at the first seed that breaks this; one worker"
    )
    args = words.parse_args()
    # work that fails is what the worlds are made of: control's line about each would hide the verdict
    logging.getLogger("headrace.control.failures").setLevel(logging.ERROR)
    if args.seed is not None:
        outcome = simulate(args.seed)
        print(outcome)
        return 1 if outcome.broken else 0
    began = time.monotonic()
    seeds = range(args.first, args.first + args.seeds)
    if args.until_broken:
        outcomes = until_broken(seeds, args.until_broken)
    else:
        with ProcessPoolExecutor(args.workers) as pool:
            outcomes = list(pool.map(simulate, seeds, chunksize=8))
    return report(outcomes, time.monotonic() - began)


def until_broken(seeds: Iterable[int], invariant: str) -> list[Outcome]:
    """One after the other, here, up to the first that breaks this invariant."""
    outcomes: list[Outcome] = []
    for seed in seeds:
        outcomes.append(simulate(seed))
        if any(text.startswith(invariant) for text in outcomes[-1].broken):
            break
    return outcomes


def report(outcomes: list[Outcome], took: float) -> int:
    """Print the sums; 1 when a seed failed."""
    failed = [o for o in outcomes if o.broken]
    kinds: dict[str, int] = {}
    for o in outcomes:
        for kind, n in o.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + n
    print(
        f"{len(outcomes)} seeds in {took:.0f} s; per seed: {fmean(o.transitions for o in outcomes):.0f} transitions "
        f"(least {min(o.transitions for o in outcomes)}), {fmean(o.faults for o in outcomes):.1f} faults "
        f"(least {min(o.faults for o in outcomes)}), {fmean(o.runs for o in outcomes):.0f} runs, "
        f"{fmean(o.limited for o in outcomes):.0f} attempts under limits, "
        f"{fmean(o.virtual_s for o in outcomes):.0f} virtual seconds; faults {kinds}"
    )
    for o in failed[:20]:
        print(f"seed {o.seed}: {sorted(o.broken)[:3]}\n  again: make sim SEED={o.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
