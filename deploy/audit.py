"""Looks every pinned package up among PyPI's advisories; knowing nothing is not the same as knowing nothing bad.

Run by `make audit` with the lock files. Exits 0 when all were looked up and none has an advisory, 1 when one has, and 2
when some could not be looked up.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

AUDIT = (sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off")
LOOK_SECONDS = 600  # a service that hangs
VULNERABLE, UNKNOWN = 1, 2
SHOWN = 5  # names of packages that could not be looked up; usually it is all of them


def main(locks: Sequence[str], command: Sequence[str] = AUDIT) -> int:
    """Audit each lock file; the worst outcome is the exit code, advisories before ignorance."""
    outcomes = [audit(lock, command) for lock in locks]
    return VULNERABLE if VULNERABLE in outcomes else max(outcomes, default=0)


def audit(lock: str, command: Sequence[str]) -> int:
    """Look up the packages of a lock file and say what was found."""
    words = (*command, "--format", "json", "-r", lock)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LOOK_SECONDS)  # noqa: S603 - ours
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"NOT AUDITED: {lock}: the advisory service could not be asked: {last[:200]}")
        return UNKNOWN
    return judged(lock, packages)


def judged(lock: str, packages: Iterable[dict[str, Any]]) -> int:
    """Print advisories and gaps; the exit code for them."""
    rows = list(packages)
    bad = [(row, flaw) for row in rows for flaw in row.get("vulns", ())]
    unknown = [str(row["name"]) for row in rows if "skip_reason" in row]
    for row, flaw in bad:
        cure = ", ".join(flaw.get("fix_versions") or ()) or "no version yet"
        say(f"VULNERABLE: {lock}: {row['name']} {row['version']}: {flaw['id']} (mended in {cure})")
    if unknown:
        names = ", ".join(unknown[:SHOWN]) + (" …" if len(unknown) > SHOWN else "")
        say(f"NOT AUDITED: {lock}: nothing is known about {len(unknown)} of {len(rows)} packages: {names}")
    if not bad and not unknown:
        say(f"{lock}: {len(rows)} packages, no advisory")
    return VULNERABLE if bad else UNKNOWN if unknown else 0


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
