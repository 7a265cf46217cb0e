"""Throws certain answers of the provider away on purpose, inside a generation process: the oracle has to name each."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

from services.generation.key_pool.pool import Key
from services.generation.model import Attempt, Generation
from services.generation.outcomes import Ambiguous, NotSent, Outcome
from services.generation.workers import submit

SHARE = "CHAOS_ANSWERS_THROWN_AWAY"  # of certain answers, between 0 and 1
LOG = "thrown_away.log"


def begin(environment: Mapping[str, str]) -> None:
    """Have this process drop a share of the answers that it has read, as a defect would: without a word."""
    share = float(environment.get(SHARE, "0"))
    if not share:
        return
    dice = random.Random(environment["FAILPOINT_SEED"])
    honest = submit.Submitter._settle

    async def settle(
        self: submit.Submitter, generation: Generation, attempt: Attempt, key: Key, outcome: Outcome
    ) -> None:
        if isinstance(outcome, Ambiguous | NotSent) or dice.random() >= share:
            await honest(self, generation, attempt, key, outcome)
        else:
            note(Path(environment["DATA_DIR"]) / LOG, attempt.id)

    submit.Submitter._settle = settle  # type: ignore[method-assign]


def note(log: Path, attempt_id: str) -> None:
    """Tell the harness; O_APPEND keeps the lines of several processes whole."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{attempt_id}\n".encode())
    os.close(descriptor)


def thrown_away(folder: Path) -> set[str]:
    """The attempts whose answers were thrown away so far."""
    log = folder / LOG
    return set(log.read_text().split()) if log.exists() else set()
