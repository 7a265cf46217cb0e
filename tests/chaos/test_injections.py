"""A few injections in their short form; `make chaos` runs all of them."""

import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.injections import INJECTIONS, inject

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]  # above STUCK_SECONDS
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
ORDERS = 6
SHORT = (
    "PostgreSQL killed and started again",
    "disk of generation's database full",
    "an edge answers reads: 408, 500, 501, pages",
)


def test_each_injection_has_a_title_of_its_own() -> None:
    assert len({injection.title for injection in INJECTIONS}) == len(INJECTIONS)


@pytest.mark.parametrize("title", SHORT)
async def test_an_injected_fault_breaks_no_promise(tmp_path: Path, title: str) -> None:
    (injection,) = (each for each in INJECTIONS if each.title == title)

    result = await inject(injection, SEED, tmp_path / "stack", ORDERS)

    if result.skipped:
        pytest.skip(result.skipped)
    assert not result.broken, f"CHAOS_SEED={SEED}\n{result}"
    assert result.hits >= injection.least
