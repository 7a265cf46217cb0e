"""`make fleet`: everything that can happen to a fleet, in one table. FLEET_SEED replays the random part.

FLEET_ONLY is a comma list of words; only scenarios whose names hold one of them run. FLEET_SCALE (1 is the full length)
shortens them for a look.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tests.e2e.stack import ROOT
from tests.fleet import releases, scenarios
from tests.fleet.fleet import KINDS, fleet, renew_certificates
from tests.fleet.network import NoNamespacesError
from tests.fleet.scenarios import Member, Row, Run, scenario

SCALE = float(os.environ.get("FLEET_SCALE", "1"))
ONLY = [word for word in os.environ.get("FLEET_ONLY", "").split(",") if word]
SEED = int(os.environ.get("FLEET_SEED", random.SystemRandom().randrange(1 << 32)))
KILL_RATE, RESTART_RATE, STORM_RATE = 50.0, 100.0, 40.0
DEAD_SECONDS, CUT_SECONDS, AWAY_SECONDS = 5.0, 12.0, 90.0
RESTARTS, ROTATIONS, STORM_KILLS = 10, 5, 250


def scaled(number: float, least: float = 1.0) -> float:
    """A length or a count of the full form, as FLEET_SCALE shortens it."""
    return max(least, number * SCALE)


def balance(run: Run) -> None:
    """Nothing happens."""
    found = scenarios.shares(run.fleet, scaled(30))
    run.notes += [f"{kind} {' '.join(f'{found[member.name]:.0%}' for member in run.fleet.of(kind))}" for kind in KINDS]
    run.notes += [f"not in balance: {off}"] if (off := scenarios.unbalanced(found)) else []


def killed(run: Run) -> None:
    """Every host of ours loses its power in turn."""
    scenarios.kill_each(run, scaled(DEAD_SECONDS))


def frozen(run: Run) -> None:
    """Every process of ours hangs in turn."""
    scenarios.freeze_each(run, scaled(DEAD_SECONDS))


def cut(run: Run) -> None:
    """Every host's line goes down in turn."""
    scenarios.cut_each(run, scaled(CUT_SECONDS), lambda member: member.host.cut())


def muted(run: Run) -> None:
    """What every host sends is lost, in turn."""
    scenarios.cut_each(run, scaled(CUT_SECONDS), lambda member: member.host.mute())


def deafened(run: Run) -> None:
    """What every host should hear is lost, in turn."""
    scenarios.cut_each(run, scaled(CUT_SECONDS), lambda member: member.host.deafen())


def lossy(run: Run) -> None:
    """2 % of what every host sends is lost, 200 ms late where the kernel can delay, in turn."""
    delayed: set[bool] = set()

    def impair(member: Member) -> None:
        delayed.add(member.host.delay(200))
        member.host.lose(2)

    scenarios.cut_each(run, scaled(CUT_SECONDS), impair)
    run.notes += [] if all(delayed) else ["loss only: this kernel has no netem, which delays"]


def one_way(run: Run) -> None:
    """What a service sends to another one is lost, each pair of the flow in turn."""
    for one, other in (("gateway", "generation"), ("generation", "storage"), ("community", "generation")):
        for sender in run.fleet.of(one):
            for receiver in run.fleet.of(other):
                sender.host.mute_towards(receiver.host)
        time.sleep(scaled(CUT_SECONDS))
        for sender in run.fleet.of(one):
            sender.host.mend()


def restarted(run: Run) -> None:
    """All processes are restarted in good order, again and again."""
    scenarios.restart_all(run, round(scaled(RESTARTS)))


def upgraded(run: Run) -> None:
    """All processes go back to the baseline, the schema expands, and they go forward, back and forward again."""
    try:
        old = releases.baseline(run.fleet.folder / "baseline")
    except releases.NoBaselineError as reason:
        run.notes.append(f"not run: {reason}")
        return
    releases.replace(run.fleet, old, back=True)
    releases.expand(run.fleet, run.fleet.folder / "expanding")
    releases.replace(run.fleet, ROOT)
    releases.replace(run.fleet, old, back=True)
    releases.replace(run.fleet, ROOT)
    run.notes.append(f"baseline {releases.BASELINE[:7]}, drift of the counters {run.fleet.drift()}")


def rotated(run: Run) -> None:
    """All certificates are replaced, again and again."""
    for _ in range(round(scaled(ROTATIONS))):
        renew_certificates(run.fleet)
        time.sleep(scaled(5))


def database_restarted(run: Run) -> None:
    """PostgreSQL crashes and comes back."""
    run.fleet.database.crash()
    time.sleep(scaled(3))
    run.fleet.database.start()


def failed_over(run: Run) -> None:
    """PostgreSQL's machine is lost, and its standby takes over."""
    time.sleep(scaled(5))
    run.fleet.fail_over()
    time.sleep(scaled(15))


def cache_lost(run: Run) -> None:
    """Valkey is emptied, restarted and frozen."""
    run.fleet.cache.redis.flushall()
    run.fleet.cache.kill()
    run.fleet.cache.start()
    time.sleep(scaled(3))
    run.fleet.cache.freeze()
    time.sleep(scaled(15))
    run.fleet.cache.thaw()


def bucket_away(run: Run) -> None:
    """S3 cannot be reached."""
    run.fleet.bucket.host.cut()
    time.sleep(scaled(AWAY_SECONDS))
    run.fleet.bucket.host.mend()


def stormy(run: Run) -> None:
    """Processes are killed at random."""
    scenarios.storm(run, round(scaled(STORM_KILLS)), SEED, 2.0)


# Where an engine is away, requests that need it fail with their code; no order may.
SCENARIOS: tuple[tuple[str, Callable[[Run], None], float, bool], ...] = (
    ("balance", balance, KILL_RATE, True),
    ("every host killed", killed, KILL_RATE, True),
    ("every process frozen", frozen, KILL_RATE, True),
    ("every line down", cut, KILL_RATE, True),
    ("every host mute", muted, KILL_RATE, True),
    ("every host deaf", deafened, KILL_RATE, True),
    ("every line lossy", lossy, KILL_RATE, True),
    ("one way between services", one_way, KILL_RATE, True),
    ("rolling restarts", restarted, RESTART_RATE, False),
    ("rolling upgrade and back", upgraded, RESTART_RATE, False),
    ("certificates rotated", rotated, RESTART_RATE, False),
    ("PostgreSQL restarted", database_restarted, KILL_RATE, True),
    ("PostgreSQL failed over to a standby", failed_over, KILL_RATE, True),
    ("Valkey flushed, restarted, frozen", cache_lost, KILL_RATE, True),
    ("S3 away", bucket_away, KILL_RATE, True),
    ("storm", stormy, STORM_RATE, True),
)
COLUMNS = ("requests", "repeated", "orders", "failed", "unfinished", "not succeeded", "twice", "unbilled", "no bytes")


def line(row: Row) -> str:
    """A row of the table, in Markdown."""
    broken = row.broken
    numbers = (row.requests, row.repeated, row.orders, *vars(broken).values())
    return f"| {row.name} | {' | '.join(map(str, numbers))} | {'; '.join(row.notes)} |"


def say(text: str, stream: TextIO = sys.stdout) -> None:
    """Write a line at once."""
    stream.write(f"{text}\n")
    stream.flush()


def main() -> int:
    """Run the scenarios on one fleet; 1 when a promise was broken."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the fleet is taken down whoever ends us
    say(f"FLEET_SEED={SEED} FLEET_SCALE={SCALE}", sys.stderr)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="kawaii-fleet-") as name, fleet(Path(name)) as made:
        paths = scenarios.prepared(made)
        say(f"| scenario | {' | '.join(COLUMNS)} | notes |\n|---{'|---:' * len(COLUMNS)}|---|")
        for title, body, rate, repeat in SCENARIOS:
            if ONLY and not any(word in title for word in ONLY):
                continue
            with scenario(made, title, paths, rate, rows, repeat=repeat) as run:
                body(run)
            say(line(rows[-1]))
            for failure in rows[-1].failures[:3]:
                say(f"  {failure}", sys.stderr)
    return int(any(row.broken.total for row in rows))


def _try() -> int:
    try:
        return main()
    except NoNamespacesError as reason:
        say(f"No fleet can be made here: {reason}.", sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(_try())
