"""Change one line at a time and see whether a test notices: make mutants, or python -m tests.mutants.run --sample 300.

Why a program of ours: mutmut (3.8) copes with a module like gateway/byte_cache.py, but it learns which test calls
which function by running the whole suite in one process, so it knows nothing of what services do that tests start as
processes, changes functions only and not the bounds that modules name, and takes no sample. cosmic-ray (8.7) changes
modules in place, has one test command and one time limit for all modules, and takes no sample. Here every mutant is a
file of a copied tree, so that processes started by a test run the mutant too, and meets the tests nearest to the
changed module only.
"""

import argparse
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.beside import ImportGraph
from tests.mutants.operators import Mutant
from tests.mutants.sample import STRATA, population, sampled, stratum_of
from tests.mutants.trial import Copy, Verdict

TREE = Path(__file__).parents[2]
# What one mutant may cost: 300 mutants on two workers within 90 minutes are 36 s each, and most die in the first file.
BUDGET_SECONDS = 40.0
# However busy the machine is, so many of the nearest test files always run.
LEAST_FILES = 2
# The time limit of one test file, and on the true code half as long: who is near the limit is no test beside a module.
FILE_SECONDS = 120.0
WANTED = 90.0  # percent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    verdict: Verdict
    test: str  # the file that noticed, or how many did not


@dataclass(slots=True)
class Run:
    """One run: copies of the tree, and which test files pass on the true code."""

    graph: ImportGraph
    budget: float
    ends: float
    copies: SimpleQueue[Copy] = field(default_factory=SimpleQueue)
    _sound: dict[str, bool] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _listing: threading.Lock = field(default_factory=threading.Lock)

    def outcome(self, mutant: Mutant) -> Outcome | None:
        """Try one mutant in a free copy; None when the time is over."""
        copy = self.copies.get()
        try:
            if time.monotonic() > self.ends:
                return None
            outcome = self._met(copy, mutant)
        finally:
            self.copies.put(copy)
        sys.stdout.write(f"{outcome.verdict:<9}  {mutant.path}:{mutant.line}  {mutant.change}  [{outcome.test}]\n")
        sys.stdout.flush()
        return outcome

    def failing(self) -> list[str]:
        """The test files whose verdict was not taken, since they fail or are slow on the true code."""
        return sorted(test for test, passes in self._sound.items() if not passes)

    def _met(self, copy: Copy, mutant: Mutant) -> Outcome:
        """Let the nearest test files meet a mutant one after the other, until one notices or the budget is spent."""
        began, met = time.monotonic(), 0
        for test in self.graph.tests_beside(mutant.path):
            if met >= LEAST_FILES and time.monotonic() - began > self.budget:
                break
            if self._sound.get(test) is False:
                continue
            verdict = copy.tried(mutant, test, FILE_SECONDS)
            if verdict == "survived":
                met += 1
            elif self._is_sound(copy, test):
                return Outcome(mutant, verdict, test)
        return Outcome(mutant, "survived", f"{met} test files")

    def _is_sound(self, copy: Copy, test: str) -> bool:
        """Whether a test file passes on the true code, so that its failure was the mutant's doing; looked up once."""
        with self._listing:
            lock = self._locks.setdefault(test, threading.Lock())
        with lock:
            if test not in self._sound:
                self._sound[test] = copy.passes(test, FILE_SECONDS / 2)
            return self._sound[test]


def tried(mutants: Sequence[Mutant], workers: int, run: Run) -> list[Outcome]:
    """Try mutants side by side; those for which no time is left are not in the list."""
    with ThreadPoolExecutor(workers) as pool:
        return [outcome for outcome in pool.map(run.outcome, mutants) if outcome]


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes by stratum. A mutant that hangs its tests is noticed like one that fails them."""
    counted = Counter((stratum_of(outcome.mutant), outcome.verdict) for outcome in outcomes)
    counted.update({("all", verdict): 0 for verdict in ("killed", "survived", "timed out")})
    for (_, verdict), number in list(counted.items()):
        counted["all", verdict] += number
    lines = ["| stratum | mutants | killed | survived | timed out | percent |", "|---|--:|--:|--:|--:|--:|"]
    for stratum in [*STRATA, "all"]:
        killed, survived, hung = (counted[stratum, verdict] for verdict in ("killed", "survived", "timed out"))
        if number := killed + survived + hung:
            percent = f"{_percent(killed + hung, number):.0f}"
            lines.append(f"| {stratum} | {number} | {killed} | {survived} | {hung} | {percent} |")
    return "\n".join(lines)


def survivors(outcomes: Iterable[Outcome]) -> str:
    """File, line and change of every mutant that no test noticed."""
    alive = [outcome.mutant for outcome in outcomes if outcome.verdict == "survived"]
    ordered = sorted(alive, key=lambda mutant: (mutant.path, mutant.line))
    return "\n".join(f"| {mutant.path}:{mutant.line} | `{mutant.change}` |" for mutant in ordered)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run by hand or by make mutants; 1 if fewer than 90 percent were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="so many mutants (300)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="the same seed chooses the same mutants")
    parser.add_argument("--workers", type=int, default=2, help="so many at once (2)")
    parser.add_argument("--minutes", type=float, default=90, help="begin no mutant after this time (90)")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds of tests for one mutant (40)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only modules with TEXT in the path")
    parser.add_argument("--list", action="store_true", help="list the sample, try nothing")
    asked = parser.parse_args(arguments)
    everything = {
        stratum: [mutant for mutant in mutants if asked.only in mutant.path]
        for stratum, mutants in population(TREE).items()
    }
    chosen = sampled({stratum: mutants for stratum, mutants in everything.items() if mutants}, asked.sample, asked.seed)
    sys.stdout.write(f"{len(chosen)} of {sum(map(len, everything.values()))} mutants, --seed {asked.seed}\n")
    if asked.list:
        sys.stdout.writelines(f"{mutant.path}:{mutant.line}  {mutant.change}\n" for mutant in chosen)
        return 0
    run = Run(ImportGraph(TREE), asked.budget, time.monotonic() + asked.minutes * 60)
    with tempfile.TemporaryDirectory(prefix="kawaii-m-") as folder:
        for number in range(asked.workers):
            run.copies.put(Copy(TREE, Path(folder) / str(number)))
        outcomes = tried(chosen, asked.workers, run)
    return report(outcomes, len(chosen), run.failing())


def report(outcomes: Sequence[Outcome], wanted: int, left_out: Sequence[str]) -> int:
    """Print the table and whom it does not cover; whether the run shows less than was wanted."""
    sys.stdout.write(f"\n{table(outcomes)}\n\nSurvivors:\n{survivors(outcomes) or 'none'}\n")
    if len(outcomes) < wanted:
        sys.stdout.write(f"\nThe time was over before {wanted - len(outcomes)} of the {wanted} mutants were tried.\n")
    if left_out:
        sys.stdout.write(f"\nLeft out, since they fail or are slow on the true code: {', '.join(left_out)}\n")
    noticed = sum(outcome.verdict != "survived" for outcome in outcomes)
    return not outcomes or _percent(noticed, len(outcomes)) < WANTED


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole


if __name__ == "__main__":
    raise SystemExit(main())
