"""A defect that is put into generation on purpose: it drops definite answers, each of which the checker has to name."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

from services.generation.key_pool.pool import Key
from services.generation.model import Attempt, Generation
from services.generation.outcomes import Ambiguous, NotSent, Outcome
from services.generation.workers import submit

SHARE = "CHAOS_ANSWERS_DROPPED"  # of definite answers, between 0 and 1
LOG = "dropped_answers.log"


def install(environment: Mapping[str, str]) -> None:
    """Make this process drop a share of the answers that it has read, without a log line; SHARE turns it on."""
    share = float(environment.get(SHARE, "0"))
    if not share:
        return
    rng = random.Random(environment["FAILPOINT_SEED"])
    original = submit.Submitter._settle

    async def settle(
        self: submit.Submitter, generation: Generation, attempt: Attempt, key: Key, outcome: Outcome
    ) -> None:
        if isinstance(outcome, Ambiguous | NotSent) or rng.random() >= share:
            await original(self, generation, attempt, key, outcome)
        else:
            append(Path(environment["DATA_DIR"]) / LOG, attempt.id)

    submit.Submitter._settle = settle  # type: ignore[method-assign]


def append(log: Path, attempt_id: str) -> None:
    """Write a line for the test; O_APPEND keeps the lines of several processes whole."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{attempt_id}\n".encode())
    os.close(descriptor)


def dropped(folder: Path) -> set[str]:
    """The attempts whose answers were dropped so far."""
    log = folder / LOG
    return set(log.read_text().split()) if log.exists() else set()
