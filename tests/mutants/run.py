"""Change one line at a time and see whether a test notices: make mutants, or python -m tests.mutants.run --sample 300.

Why a program of ours: mutmut (3.8) copes with one module, but it learns which test calls
which function by running the whole suite in one process, so it knows nothing of what services do that tests start as
processes, changes functions only and not the bounds that modules name, and takes no sample. cosmic-ray (8.7) changes
modules in place, has one test command and one time limit for all modules, and takes no sample. Here every mutant is a
file of a copied tree, so that processes started by a test run the mutant too, and meets those tests beside the changed
module that execute the changed line.

A run with the same seed on the same code goes on where the last one was cut; survivors are tried again with the
tests of now.
"""

import argparse
import hashlib
import json
import secrets
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.beside import ImportGraph
from tests.mutants.choice import NEAREST, WIDER, Choice
from tests.mutants.operators import Mutant
from tests.mutants.sample import STRATA, population, sampled, stratum_of
from tests.mutants.trial import Verdict, opened

TREE = Path(__file__).parents[2]
# The time limit of one round of tests, whose recorded times add up to at most 20 s; busy machines are ten times slower.
ROUND_SECONDS = 300.0
ATTEMPTS = 4  # rounds begun anew since a test failed that fails on the true code too
WANTED = 90.0  # percent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    verdict: Verdict
    test: str  # which noticed, or how many did not
    seconds: float


def outcome(choice: Choice, mutant: Mutant) -> Outcome:
    """Let rounds of tests meet a mutant until a test notices that passes on the true code."""
    began, met = time.monotonic(), 0
    for arguments in choice.rounds(mutant):
        verdict, test = _met(choice, mutant, arguments)
        if verdict != "survived":
            return Outcome(mutant, verdict, test, time.monotonic() - began)
        met += len(arguments)
    return Outcome(mutant, "survived", f"{met} tests", time.monotonic() - began)


def _met(choice: Choice, mutant: Mutant, arguments: list[str]) -> tuple[Verdict, str]:
    """One round: a failure or a hang counts when the same tests pass on the true code."""
    for _ in range(ATTEMPTS):
        left = [argument for argument in arguments if argument not in choice.unsound]
        if not left:
            break
        result = choice.copy.tried(mutant, left, ROUND_SECONDS)
        if result.passed:
            break
        if result.failed and all(map(choice.is_known, result.failed)):
            return "killed", result.failed[0]
        true = choice.copy.run(list(result.failed) or left, ROUND_SECONDS)
        if true.passed:
            noticed = result.failed[0] if result.failed else left[0]
            return ("timed out" if result.code is None else "killed"), noticed
        choice.unsound.update(true.failed, true.missing)
        if not true.failed and not true.missing:
            break  # the tests hang or cannot be collected on the true code
    return "survived", ""


class Results:
    """Outcomes as JSON lines, written as they come, below a line that names the code and the sample."""

    def __init__(self, file: Path, header: dict[str, str]) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self._continues = bool(lines) and json.loads(lines[0]) == header
        if not self._continues:
            lines = [json.dumps(header)]
            file.write_text(lines[0] + "\n", encoding="utf-8")
        self._found = {_mutant(line["mutant"]): line for line in map(json.loads, lines[1:])}

    @property
    def continues(self) -> bool:
        """Whether an earlier run of the same sample on the same code goes on."""
        return self._continues

    def of(self, mutant: Mutant) -> Outcome | None:
        """What became of a mutant, when it was tried before."""
        line = self._found.get(mutant)
        return Outcome(mutant, line["verdict"], line["test"], line["seconds"]) if line else None

    def add(self, found: Outcome) -> None:
        """Write one outcome down; a later one of the same mutant counts instead."""
        line = asdict(found) | {"seconds": round(found.seconds, 1)}
        self._found[found.mutant] = line
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _mutant(fields: dict[str, object]) -> Mutant:
    return Mutant(**fields)  # type: ignore[arg-type]


def digest(tree: Path) -> str:
    """The code that is changed: results of another code are of no use."""
    found = hashlib.sha256()
    for root in ("services", "gateway"):
        for path in sorted((tree / root).rglob("*.py")):
            found.update(path.relative_to(tree).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes by stratum. A mutant that hangs its tests is noticed like one that fails them."""
    counted = Counter((stratum_of(found.mutant), found.verdict) for found in outcomes)
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
    alive = [found.mutant for found in outcomes if found.verdict == "survived"]
    ordered = sorted(alive, key=lambda mutant: (mutant.path, mutant.line))
    return "\n".join(f"| {mutant.path}:{mutant.line} | `{mutant.change}` |" for mutant in ordered)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run by hand or by make mutants; 1 if fewer than 90 percent were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="so many mutants (300)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="the same seed chooses the same mutants")
    parser.add_argument("--minutes", type=float, default=90, help="begin no mutant after this time (90)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only modules with TEXT in the path")
    parser.add_argument("--folder", type=Path, default=TREE / ".build/mutants", help="where copy and results lie")
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
    header = {"code": digest(TREE), "seed": asked.seed, "sample": str(asked.sample), "only": asked.only}
    results = Results(asked.folder / "results.jsonl", header)
    ends = time.monotonic() + asked.minutes * 60
    records = asked.folder / "records"
    if not results.continues:
        for folder in (records, asked.folder / "copy"):
            shutil.rmtree(folder, ignore_errors=True)
    records.mkdir(exist_ok=True)
    modules = sorted({mutant.path for mutant in chosen})
    with opened(TREE, asked.folder / "copy") as copy:
        try_all(chosen, results, Choice(ImportGraph(TREE), copy, records, modules), ends)
    return report([found for mutant in chosen if (found := results.of(mutant))], len(chosen))


def try_all(mutants: Sequence[Mutant], results: Results, choice: Choice, ends: float) -> None:
    """Try what was not tried yet, then the survivors again with more tests, until the time is over."""
    known = {mutant: results.of(mutant) for mutant in mutants}
    queue = deque((mutant, NEAREST) for mutant, found in known.items() if not found)
    queue.extend((mutant, WIDER) for mutant, found in known.items() if found and found.verdict == "survived")
    while queue and time.monotonic() < ends:
        mutant, choice.nearest = queue.popleft()
        found = outcome(choice, mutant)
        if found.verdict == "survived" and choice.nearest == NEAREST:
            queue.append((mutant, WIDER))
        results.add(found)
        line = f"{found.verdict:<9}  {mutant.path}:{mutant.line}  {mutant.change}  [{found.test}]"
        sys.stdout.write(f"{line} {found.seconds:.0f} s\n")
        sys.stdout.flush()


def report(outcomes: Sequence[Outcome], wanted: int) -> int:
    """Print the table and the survivors; whether the run shows less than was wanted."""
    sys.stdout.write(f"\n{table(outcomes)}\n\nSurvivors:\n{survivors(outcomes) or 'none'}\n")
    if len(outcomes) < wanted:
        sys.stdout.write(f"\nThe time was over before {wanted - len(outcomes)} of the {wanted} mutants were tried.\n")
    noticed = sum(found.verdict != "survived" for found in outcomes)
    return not outcomes or _percent(noticed, len(outcomes)) < WANTED


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole


if __name__ == "__main__":
    raise SystemExit(main())
