"""The failpoints in the code are exactly the documented ones, each in the process that the list says."""

import re
from collections import defaultdict
from pathlib import Path

from tests.chaos.points import POINTS

ROOT = Path(__file__).parents[2]
REACHED = re.compile(r'reach(?:_in_thread)?\(\s*"([^"]+)"')
HOMES = {"gateway": ROOT / "gateway", "generation": ROOT / "services/generation", "storage": ROOT / "services/storage"}


def names_in(folder: Path) -> set[str]:
    return {name for path in folder.rglob("*.py") for name in REACHED.findall(path.read_text())}


def test_the_code_has_the_documented_failpoints_and_no_others() -> None:
    assert {service: names_in(home) for service, home in HOMES.items()} == {
        service: set(points) for service, points in POINTS.items()
    }


def test_no_other_process_has_failpoints_that_nobody_strikes() -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "gateway").rglob("*.py")]:
        if not any(path.is_relative_to(home) for home in HOMES.values()):
            found[path.name] |= set(REACHED.findall(path.read_text()))

    assert not any(found.values())


def test_there_are_more_than_twenty() -> None:
    assert sum(len(points) for points in POINTS.values()) >= 20
